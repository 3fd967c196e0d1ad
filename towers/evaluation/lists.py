"""Ranked lists as a table that anybody can score."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.data import Dataset
from towers.evaluation.evaluation_set import EvaluationSet
from towers.types import Hits

USERS_AT_ONCE = 50_000


def write_lists(lists: Hits, users: EvaluationSet, dataset: Dataset, file: Path) -> None:
    """Write user_id, video_id, rank (1 is best) and score, ids in their own type; the file appears when complete.

    Args:
        lists: Video rows, best first, [q, depth]; empty places are left out.
        users: Whose lists they are.
        dataset: For the ids.
        file: Parquet file; its folder is made.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    try:
        _write(lists, users, dataset, partial)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def _write(lists: Hits, users: EvaluationSet, dataset: Dataset, file: Path) -> None:
    writer: pq.ParquetWriter | None = None
    ranks = np.arange(1, lists.ids.shape[1] + 1, dtype=np.int32)
    for start in range(0, len(users), USERS_AT_ONCE):
        part = slice(start, start + USERS_AT_ONCE)
        ids = lists.ids[part]
        filled = ids >= 0
        table = pa.table({
            "user_id": dataset.users.ids(np.repeat(users.users[part], filled.sum(1))),
            "video_id": dataset.videos.ids(ids[filled]),
            "rank": np.broadcast_to(ranks, ids.shape)[filled],
            "score": lists.scores[part][filled],
        })
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()
