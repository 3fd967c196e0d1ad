"""What every index promises: built from vectors and ids, searched exactly as asked, saved and loaded."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.several import merged
from towers.types import ConfigError, DataError, Geometry, Hits

_LENGTH_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Filters:
    """Which columns a search may return.

    Attributes:
        offsets: Where each query's excluded columns begin, [q + 1].
        columns: Excluded columns, all queries one after the other.
        allowed: The only columns that may be returned, rising; None means all.
    """

    offsets: Int64[np.ndarray, " q_plus_1"]
    columns: Int64[np.ndarray, " excluded"]
    allowed: Int64[np.ndarray, " allowed"] | None

    def of(self, row: int) -> Int64[np.ndarray, " m"]:
        """Return the columns excluded from one query."""
        return self.columns[self.offsets[row] : self.offsets[row + 1]]

    def take(self, rows: Int64[np.ndarray, " r"]) -> "Filters":
        """Return the filters of some queries, in the order given."""
        kept = [self.of(int(row)) for row in rows]
        offsets = np.concatenate([[0], np.cumsum([len(columns) for columns in kept])]).astype(np.int64)
        return Filters(offsets, np.concatenate([self.columns[:0], *kept]), self.allowed)

    def left(self, n: int) -> Int64[np.ndarray, " q"]:
        """Return how many of n columns each query may still be given."""
        if self.allowed is None:
            return np.subtract(n, np.diff(self.offsets))
        inside = np.concatenate([[0], np.cumsum(np.isin(self.columns, self.allowed))]).astype(np.int64)
        return len(self.allowed) - np.diff(inside[self.offsets])


class Searcher(ABC):
    """Vectors that can be searched; made by an Index or by load.

    Attributes:
        kind: The name under which it is saved.
        exact: Whether the answer is the true best k, always.
        ids: What the caller calls the vectors, rising, [n].
        vectors: The vectors in the order of their ids, [n, d].
        geometry: The geometry of the model that made the vectors.
        why: Why this kind was chosen, in one line; empty where it was asked for.
    """

    kind: ClassVar[str]
    exact: ClassVar[bool]

    def __init__(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, why: str = ""
    ) -> None:
        self.vectors, self.ids, self.geometry, self.why = vectors, ids, geometry, why
        self._names = np.append(ids, -1)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self.vectors.shape[1])

    def search(
        self,
        queries: Float32[np.ndarray, "q *i d"],
        k: int,
        exclude: Sequence[Int64[np.ndarray, " _"]] | None = None,
        allow: Int64[np.ndarray, " _"] | None = None,
    ) -> Hits:
        """Return the best k of every query.

        Args:
            queries: User vectors, or any others of the same space, [q, d]; or [q, i, d], where each user asks with
                i queries and a video's score is the best of them.
            k: How many; slots beyond what exists and may be returned hold -1 and -inf.
            exclude: For each query the ids that it must not be given; ids that the index lacks change nothing.
            allow: The only ids that may be returned, to any query; ids that the index lacks change nothing.

        Raises:
            ConfigError: k below 1.
            DataError: Another dimension, a query that is not finite, or not one exclude per query.
        """
        if k < 1:
            raise ConfigError(f"k is {k}; ask for at least 1 candidate")
        if queries.shape[-1] != self.dim:
            raise DataError(
                f"queries have {queries.shape[-1]} dimensions, the index has {self.dim}; take both from one bundle"
            )
        if exclude is not None and len(exclude) != len(queries):
            raise DataError(
                f"exclude holds {len(exclude)} lists for {len(queries)} queries; give one per query, empty ones too"
            )
        if queries.ndim == 3:
            each = queries.shape[1]
            lists = None if exclude is None else [ids for ids in exclude for _ in range(each)]
            return merged(self.search(queries.reshape(-1, self.dim), k, lists, allow), each)
        _check_finite("queries", queries)
        offsets, columns = self._excluded(len(queries), exclude)
        allowed = None if allow is None else self._columns(np.unique(allow))
        hits = self._find(queries, k, Filters(offsets, columns, allowed))
        return Hits(self._names[hits.ids], hits.scores)

    def save(self, folder: Path) -> None:
        """Write the index into a folder, which is made where it is missing; not atomic by itself."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "vectors.npy", self.vectors)
        np.save(folder / "ids.npy", self.ids)
        header = {"kind": self.kind, "geometry": self.geometry.value, "why": self.why, **self._save(folder)}
        (folder / "index.json").write_text(json.dumps(header, sort_keys=True, indent=1), encoding="utf-8")

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, header: dict[str, object]) -> "Searcher":
        """Read what save wrote; the vectors stay on disk and are mapped."""

    @abstractmethod
    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, filters: Filters) -> Hits:
        """Return hits whose ids are columns."""

    @abstractmethod
    def _save(self, _folder: Path) -> dict[str, object]:
        """Write what this kind needs beside vectors and ids; return what belongs in the header."""

    def _columns(self, ids: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " found"]:
        """Return the columns of those ids that the index holds."""
        where = np.minimum(np.searchsorted(self.ids, ids), max(len(self.ids) - 1, 0))
        return where[self.ids[where] == ids] if len(self.ids) else where[:0]

    def _excluded(
        self, q: int, exclude: Sequence[np.ndarray] | None
    ) -> tuple[Int64[np.ndarray, " q_plus_1"], Int64[np.ndarray, " excluded"]]:
        """Return the exclusions of all queries as offsets and columns."""
        if exclude is None:
            return np.zeros(q + 1, np.int64), np.empty(0, np.int64)
        columns = [self._columns(np.unique(ids)) for ids in exclude]
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in columns])]).astype(np.int64)
        return offsets, np.concatenate([np.empty(0, np.int64), *columns])


@dataclass(kw_only=True)
class Index(ABC):
    """A way to index vectors; a variant's fields are its options, build does the work."""

    def build(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " m"], geometry: Geometry) -> Searcher:
        """Return a searcher over the vectors.

        Args:
            vectors: One vector per video, [n, d].
            ids: What to call them, each ≥ 0 and different, [n].
            geometry: The geometry in which the model was trained; cosine asks for vectors of length 1.

        Raises:
            DataError: Ids that are negative, repeated or not one per vector; a vector that is not finite, or not of
                length 1 (± 0.001) where the geometry is cosine.
        """
        _check_ids(ids, len(vectors))
        _check_finite("vectors", vectors)
        if geometry is Geometry.cosine:
            _check_lengths(vectors, ids)
        if (np.diff(ids) <= 0).any():
            order = np.argsort(ids, kind="stable")
            vectors, ids = vectors[order], ids[order]
            twice = (np.diff(ids) == 0).nonzero()[0]
            if len(twice):
                raise DataError(f"id {ids[twice[0]]} names {len(twice) + 1} vectors or more; ids must be different")
        return self._build(np.ascontiguousarray(vectors), np.ascontiguousarray(ids), geometry)

    @abstractmethod
    def _build(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry) -> Searcher:
        """Return a searcher over checked vectors, which come in the order of their ids."""


def _check_ids(ids: np.ndarray, n: int) -> None:
    if len(ids) != n:
        raise DataError(f"there are {len(ids)} ids for {n} vectors; give one per vector")
    if (ids < 0).any():
        row = int((ids < 0).argmax())
        raise DataError(f"the id of row {row} is {ids[row]}; ids must be 0 or more, -1 marks an empty slot")


def _check_finite(name: str, array: np.ndarray) -> None:
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise DataError(f"row {int(bad.argmax())} of {name} is not finite; the model that made it has diverged")


def _check_lengths(vectors: np.ndarray, ids: np.ndarray) -> None:
    lengths = np.linalg.norm(vectors, axis=1)
    bad = np.abs(lengths - 1) > _LENGTH_TOLERANCE
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"row {row} of vectors (id {ids[row]}) has length {lengths[row]:.4g}; cosine geometry needs length 1 "
            "(± 0.001): normalise it, or declare geometry=dot in the model"
        )
