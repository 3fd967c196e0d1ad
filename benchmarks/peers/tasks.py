"""A prepared dataset as a peer's task, and a peer's answer as lists that anybody can score."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.exchange import Task
from towers.data import Dataset, Split

FIRST = 2
"""The row of the first user and of the first video."""


def task_of(dataset: Dataset, found_in: Split) -> Task:
    """Return the positives before a split, and who of it has any; rows become numbers from 0.

    Args:
        dataset: A prepared dataset.
        found_in: The split to rank for: of `test` a peer sees train and valid, of `valid` only train.
    """
    before = dataset.positives(*[split for split in Split if split < found_in])
    counts = dataset.positives(found_in).counts()
    wanted = np.flatnonzero((counts > 0) & (before.counts() > 0)) - FIRST
    return Task(
        offsets=before.offsets[FIRST:],
        videos=before.video_row.astype(np.int64) - FIRST,
        times=before.time_ms,
        wanted=wanted,
        catalogue=len(dataset.videos) - FIRST,
    )


def read_answer(file: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the ranked videos and the facts that a peer's script wrote."""
    with np.load(file) as arrays:
        return arrays["ranked"], json.loads(str(arrays["facts"]))


def write_lists(ranked: np.ndarray, task: Task, dataset: Dataset, file: Path) -> None:
    """Write user_id, video_id and rank (1 is best), as the referee reads them."""
    filled = ranked >= 0
    ranks = np.broadcast_to(np.arange(1, ranked.shape[1] + 1), ranked.shape)
    table = {
        "user_id": dataset.users.ids(np.repeat(task.wanted + FIRST, filled.sum(1))),
        "video_id": dataset.videos.ids(ranked[filled] + FIRST),
        "rank": ranks[filled],
    }
    pq.write_table(pa.table(table), file)


def recall(ranked: np.ndarray, task: Task, dataset: Dataset, found_in: Split) -> float:
    """Return the mean recall of whole lists, hits / relevant; what a peer's settings are chosen by, on valid."""
    truth = dataset.positives(found_in)
    shares = [
        np.isin(truth.of(user + FIRST), ranked[row] + FIRST).mean() for row, user in enumerate(task.wanted.tolist())
    ]
    return float(np.mean(shares))
