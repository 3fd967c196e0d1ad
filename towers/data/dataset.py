"""A prepared dataset on disk, opened for reading."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float32, Int32, Int64

from towers.data.encoders import Encoders
from towers.data.vocabulary import Vocabulary
from towers.types import DataError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
FILES = ("events.parquet", "users.parquet", "videos.parquet", "encoders.json", "rejected.parquet")
READ_AT = "read_at.txt"
"""When the log began to be read; beside the other files, which the same log makes again to the byte."""
TIME_UNKNOWN: int = np.iinfo(np.int64).min
"""Stands for an event's unknown time; sorts before every known one."""


class Split(IntEnum):
    """Which part of the protocol an event belongs to, as `events.parquet` writes it."""

    train = 0
    valid = 1
    test = 2


@dataclass(frozen=True)
class Positives:
    """The positives of every user, oldest first: those of row u stand at `offsets[u]:offsets[u + 1]`.

    Attributes:
        offsets: Where each user row begins, [user rows + 1].
        video_row: What was watched, [n].
        time_ms: When (UTC), or TIME_UNKNOWN, [n].
        weight: How much it counts, [n].

    Example:
        >>> one = np.ones(3, np.float32)
        >>> positives = Positives(np.array([0, 0, 0, 2, 3]), np.array([5, 4, 5], np.int32), np.arange(3), one)
        >>> positives.of(2).tolist(), positives.counts().tolist()
        ([5, 4], [0, 0, 2, 1])
    """

    offsets: Int64[np.ndarray, " rows_and_one"]
    video_row: Int32[np.ndarray, " n"]
    time_ms: Int64[np.ndarray, " n"]
    weight: Float32[np.ndarray, " n"]

    def __len__(self) -> int:
        """Return the number of positives."""
        return len(self.video_row)

    def of(self, user_row: SupportsIndex) -> Int32[np.ndarray, " m"]:
        """Return the videos of one user, oldest first, [m]."""
        row = int(user_row)
        return self.video_row[self.offsets[row] : self.offsets[row + 1]]

    def times_of(self, user_row: SupportsIndex) -> Int64[np.ndarray, " m"]:
        """Return when one user watched them, ms UTC or TIME_UNKNOWN, oldest first, [m]."""
        row = int(user_row)
        return self.time_ms[self.offsets[row] : self.offsets[row + 1]]

    def counts(self) -> Int64[np.ndarray, " rows"]:
        """Return the number of positives of each user row."""
        return np.diff(self.offsets)

    @property
    def user_row(self) -> Int32[np.ndarray, " n"]:
        """Whose each positive is, [n]."""
        return np.repeat(np.arange(len(self.offsets) - 1, dtype=np.int32), self.counts())


class Dataset:
    """A folder that `prepare` made.

    Attributes:
        folder: Where it lies.
        manifest: What it was made from, how it was split, and what each rule dropped.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest

    @classmethod
    def open(cls, folder: str | Path) -> "Dataset":
        """Open a dataset folder.

        Raises:
            DataError: The folder is missing, incomplete, or of another schema version.
        """
        place = Path(folder)
        remedy = "make it with: towers prepare data=… dataset=DIR"
        if not (place / MANIFEST).is_file():
            missing = f"{place} is a file, no folder" if place.is_file() else f"there is no folder {place}"
            what = f"{place} holds no {MANIFEST}, so it is no dataset" if place.is_dir() else missing
            raise DataError(f"{what}; {remedy}")
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        if manifest.get("schema") != SCHEMA_VERSION:
            raise DataError(
                f"dataset {place} has schema {manifest.get('schema')}; this version reads {SCHEMA_VERSION}; {remedy}"
            )
        if gone := [name for name in FILES if not (place / name).is_file()]:
            raise DataError(f"dataset {place} lacks {', '.join(gone)}; {remedy}")
        return cls(place, manifest)

    @property
    def protocol(self) -> str:
        """The name of the protocol that the split follows."""
        return str(self.manifest["protocol"])

    @property
    def repeats(self) -> str | None:
        """Which times of a video watched again are positives, `first` or `all`; None of a dataset that does not say."""
        return self.manifest.get("repeats")

    @property
    def read_at(self) -> datetime:
        """When its log began to be read, UTC; datasets of before do not say, of which it is when they were written."""
        if (told := self.folder / READ_AT).is_file():
            return datetime.fromisoformat(told.read_text(encoding="utf-8").strip())
        return datetime.fromtimestamp((self.folder / MANIFEST).stat().st_mtime, UTC)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the checksums of the folder's files."""
        return hashlib.sha256(json.dumps(self.manifest["checksums"], sort_keys=True).encode()).hexdigest()

    @cached_property
    def encoders(self) -> Encoders:
        """The fitted encoders."""
        return Encoders.from_json(json.loads((self.folder / "encoders.json").read_text(encoding="utf-8")))

    @cached_property
    def users(self) -> Vocabulary:
        """User ids and rows."""
        return self._vocabulary("user")

    @cached_property
    def videos(self) -> Vocabulary:
        """Video ids and rows; every row from 2 on may be recommended."""
        return self._vocabulary("video")

    def user_table(self) -> pa.Table:
        """Return user_row, user_id, known and the raw features, in row order from row 2."""
        return self._read("users.parquet")

    def video_table(self) -> pa.Table:
        """Return video_row, video_id, known and the raw features, in row order from row 2."""
        return self._read("videos.parquet")

    def events(self, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Return columns of all events, sorted by user and then time; an unknown time is TIME_UNKNOWN.

        Other columns with nulls come as float64 with NaN where they are numbers, else as objects with None.

        Raises:
            DataError: A column that the events do not have.
        """
        with self._reading("events.parquet") as path:
            had = pq.read_schema(path).names
        if unknown := [name for name in columns if name not in had]:
            raise DataError(f"events have no column {unknown[0]!r}; they have {', '.join(had)}")
        return {name: self._column(name) for name in columns}

    def _column(self, name: str) -> np.ndarray:
        """Read one column of the events: of a long log a column is much, and all at once are too much."""
        return _to_numpy(self._read("events.parquet", [name])[name], TIME_UNKNOWN if name == "time_ms" else None)

    def positives(self, *splits: Split) -> Positives:
        """Return the positives of the given splits, or of all when none is given."""
        wanted = np.isin(list(Split), [int(split) for split in splits or Split])
        return self._laid_out(self._column("positive") & wanted[self._column("split")])

    def _laid_out(self, keep: Bool[np.ndarray, " n"]) -> Positives:
        """Return some of the events by user; a column at a time, so that a long log is never there twice."""
        counts = np.bincount(self._column("user_row")[keep], minlength=len(self.users))
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        found = Positives(offsets, *(self._column(name)[keep] for name in ("video_row", "time_ms", "weight")))
        pa.default_memory_pool().release_unused()
        return found

    def passed(self, *splits: Split) -> Positives:
        """Return what users were shown and passed over in the given splits, laid out as positives are.

        A video that is also a positive of the user in one of these splits is none of them.
        """
        columns = self.events(["user_row", "video_row", "split", "positive"])
        inside = np.isin(columns["split"], [int(split) for split in splits or Split])
        pair = columns["user_row"].astype(np.int64) * len(self.videos) + columns["video_row"]
        return self._laid_out(inside & ~np.isin(pair, pair[inside & columns["positive"]]))

    def _vocabulary(self, kind: str) -> Vocabulary:
        column = self._read(f"{kind}s.parquet", [f"{kind}_id"])[f"{kind}_id"]
        return Vocabulary.from_ids(column.to_pylist() if pa.types.is_string(column.type) else column.to_numpy())

    def _read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        with self._reading(name) as path:
            return pq.read_table(path, columns=columns, memory_map=True)

    @contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        try:
            yield self.folder / name
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"cannot read {self.folder / name}: {error}; prepare the dataset again") from error


def _to_numpy(column: pa.ChunkedArray, null: int | None) -> np.ndarray:
    if null is not None:
        column = column.fill_null(null)
    return column.to_numpy()
