"""A dataset of a few users and an untrained run on it, small enough to be made anew for a test."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from towers.data import Dataset, Encoder, Encoders, Kind, write_json
from towers.models import ModelConfig, PopularityTerm, RecencyHistory, TwoTower, save_towers

USERS, VIDEOS, SEEN_ALL, SEEN_NOTHING = 24, 40, 0, 1
"""The first user has watched every video, the second none."""


def ids_of(count: int, string: bool) -> list[Any]:
    """Ids above 2^53, which a float cannot tell apart, or strings."""
    return [f"id {n:03d}" for n in range(count)] if string else [2**53 + 1 + n for n in range(count)]


def write_dataset(folder: Path, string: bool = False) -> Dataset:
    random = np.random.default_rng(0)
    events = []
    for user in range(USERS):
        size = {SEEN_ALL: VIDEOS, SEEN_NOTHING: 0}.get(user, int(random.integers(1, 15)))
        watched = random.permutation(VIDEOS)[:size]
        events += [(user + 2, video + 2, 1000 * place, place, place % 3) for place, video in enumerate(watched)]
    user_row, video_row, time_ms, position, split = (np.array(column) for column in zip(*events, strict=True))
    folder.mkdir(parents=True)
    tables = {
        "events": {
            "user_row": user_row.astype(np.int32),
            "video_row": video_row.astype(np.int32),
            "time_ms": time_ms,
            "position": position.astype(np.int32),
            "split": split.astype(np.int8),
            "positive": np.ones(len(events), bool),
            "weight": np.ones(len(events), np.float32),
        },
        "users": _things("user", USERS, string) | {"age": ["old" if n % 2 else "young" for n in range(USERS)]},
        "videos": _things("video", VIDEOS, string) | {"tags": [["a", "b"][: n % 3] for n in range(VIDEOS)]},
        "rejected": {"reason": pa.array([], pa.string())},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    write_json(folder / "encoders.json", ENCODERS.to_json())
    manifest = {
        "schema": 1,
        "protocol": "tiny",
        "repeats": "first",
        "checksums": {"made": f"by hand, strings {string}"},
    }
    write_json(folder / "manifest.json", manifest)
    return Dataset.open(folder)


ENCODERS = Encoders(
    users=(Encoder("age", Kind.categorical, values=("old", "young")),),
    videos=(Encoder("tags", Kind.multi, values=("a", "b")),),
)


def _things(kind: str, count: int, string: bool) -> dict[str, object]:
    rows = np.arange(2, count + 2, dtype=np.int32)
    return {f"{kind}_row": rows, f"{kind}_id": ids_of(count, string), "known": np.ones(count, bool)}


def write_run(folder: Path, dataset: Dataset, seed: int = 0, **shape: Any) -> Path:  # noqa: ANN401 - any of a model's options
    """Write an untrained run, as `train` writes a trained one; shape holds options of the model.

    With `user_id` training met all users but the last four.
    """
    torch.manual_seed(seed)
    plain: dict[str, Any] = {
        "history": RecencyHistory(),
        "dim": 16,
        "window": 10,
        "popularity": PopularityTerm.none,
    }
    model = ModelConfig(**(plain | shape))
    known, known_users = (torch.ones(len(ids), dtype=torch.bool) for ids in (dataset.videos, dataset.users))
    known_users[-4:] = False
    towers = TwoTower(model, dataset.encoders, known, known_users)
    if towers.user_ids is not None:
        torch.nn.init.normal_(towers.user_ids.weight, std=0.3)
    if model.leans:
        torch.nn.init.normal_(towers.lean.weight)
        towers.tell(torch.randn(len(dataset.videos)) * 9)
    for table in towers.context.children():
        torch.nn.init.normal_(next(table.parameters())[1:])
    save_towers(towers, folder / "towers")
    info = {"dataset": str(dataset.folder), "dataset_fingerprint": dataset.fingerprint, "config": {}, "seed": seed}
    (folder / "run.json").write_text(json.dumps(info | {"best_epoch": 1, "valid": {}}))
    return folder
