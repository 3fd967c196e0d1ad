"""Small worlds whose right answers are known: datasets by hand, and towers that see through them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from towers.data import TIME_UNKNOWN, Dataset, Encoders, Split, write_json
from towers.evaluation import EvaluationSet
from towers.evaluation.past import Past
from towers.features import FeatureTable, FeatureTensors
from towers.models import MeanHistory, ModelConfig, TwoTower
from towers.types import Geometry

Event = tuple[str, str, str] | tuple[str, str, str, int]
"""User, video, split and, where it is known, the time in ms."""


def write_world(folder: Path, events: list[Event], videos: int, users: list[str] | None = None) -> Dataset:
    """Write a dataset of videos "v00", "v01", … and of users in the order in which they are named."""
    users = users or list(dict.fromkeys(event[0] for event in events))
    rows = [
        (users.index(e[0]) + 2, int(e[1][1:]) + 2, e[3] if len(e) == 4 else None, Split[e[2]])
        for e in sorted(events, key=lambda e: users.index(e[0]))
    ]
    user, video, time, split = zip(*rows, strict=True)
    folder.mkdir(parents=True)
    tables = {
        "events": {
            "user_row": pa.array(user, pa.int32()),
            "video_row": pa.array(video, pa.int32()),
            "time_ms": pa.array(time, pa.int64()),
            "position": pa.array(range(len(rows)), pa.int32()),
            "split": pa.array(split, pa.int8()),
            "positive": np.ones(len(rows), bool),
            "weight": np.ones(len(rows), np.float32),
        },
        "users": {"user_row": np.arange(2, len(users) + 2, dtype=np.int32), "user_id": users},
        "videos": {
            "video_row": np.arange(2, videos + 2, dtype=np.int32),
            "video_id": [f"v{n:02d}" for n in range(videos)],
            "known": np.ones(videos, bool),
            "tag": [["<fun>", "cats"][: n % 3] for n in range(videos)],
            "video_duration": [61000.0 if n % 2 else None for n in range(videos)],
        },
        "rejected": {"reason": pa.array([], pa.string())},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    write_json(folder / "encoders.json", Encoders().to_json())
    write_json(folder / "manifest.json", {"schema": 1, "protocol": "world", "checksums": {"videos": str(videos)}})
    return Dataset.open(folder)


def random_world(folder: Path, seed: int = 0, users: int = 60, videos: int = 150) -> Dataset:
    rng = np.random.default_rng(seed)
    taste = rng.dirichlet(np.full(videos, 0.3))
    events: list[Event] = []
    for user in range(users):
        watched = rng.choice(videos, rng.integers(3, 20), replace=False, p=(taste + 1e-4) / (taste + 1e-4).sum())
        cuts = np.sort(rng.integers(0, len(watched) + 1, 2)) if user % 7 else (0, 0)
        for place, video in enumerate(watched):
            split = ("train", "valid", "test")[int(place >= cuts[0]) + int(place >= cuts[1])]
            events.append((f"u{user:02d}", f"v{video:02d}", split, 86_400_000 * place))
    return write_world(folder, events, videos)


def no_features(rows: int) -> FeatureTable:
    return FeatureTable(np.zeros((rows, 0), np.int32))


class OneHot(TwoTower):
    """Every video is its own direction; a user is the sum of what they watched, seen through a table of scores."""

    def __init__(self, scores: list[list[float]]) -> None:
        rows = len(scores) + 2
        config = ModelConfig(history=MeanHistory(), dim=rows, window=10, geometry=Geometry.dot)
        super().__init__(config, Encoders(), torch.ones(rows, dtype=torch.bool))
        self.table = torch.zeros(rows, rows)
        self.table[2:, 2:] = torch.tensor(scores)

    def videos(self, rows: Tensor, features: FeatureTensors) -> Tensor:  # noqa: ARG002
        return torch.eye(len(self.table))[rows]

    def states(self, events: Tensor, state: Tensor, users: FeatureTensors, time_ms: Tensor) -> Tensor:  # noqa: ARG002
        return (events.sum(1) @ self.table)[:, None]


class Collapsed(OneHot):
    """All videos and users are the same."""

    def videos(self, rows: Tensor, features: FeatureTensors) -> Tensor:  # noqa: ARG002
        return torch.ones(len(rows), self.dim)

    def states(self, events: Tensor, state: Tensor, users: FeatureTensors, time_ms: Tensor) -> Tensor:  # noqa: ARG002
        return torch.ones(len(events), 1, self.dim)


def users_of(
    past: list[list[int]], truth: list[list[int]], videos: int, times: list[list[int]] | None = None
) -> EvaluationSet:
    """Make a set from lists of catalogue positions."""
    flat_times = [t for user in times for t in user] if times else [TIME_UNKNOWN] * sum(map(len, truth))
    return EvaluationSet(
        split=Split.test,
        users=np.arange(len(past)) + 2,
        history_offsets=np.r_[0, np.cumsum([len(p) for p in past])].astype(np.int64),
        history=np.array([v + 2 for p in past for v in p], np.int32),
        history_time_ms=np.full(sum(map(len, past)), TIME_UNKNOWN),
        truth_offsets=np.r_[0, np.cumsum([len(t) for t in truth])].astype(np.int64),
        truth=np.array([v + 2 for t in truth for v in sorted(t)], np.int64),
        truth_time_ms=np.array(flat_times, np.int64),
        video_rows=videos + 2,
    )


def past_of(past: list[list[int]], videos: int, training: tuple[Past, EvaluationSet] | None = None) -> Past:
    offsets = np.r_[0, np.cumsum([len(p) for p in past])].astype(np.int64)
    column = np.array([v for p in past for v in p], np.int64)
    return Past(offsets, column, np.full(len(column), TIME_UNKNOWN), videos, training)
