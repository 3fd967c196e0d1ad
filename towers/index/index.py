"""What every index promises: built from vectors and ids, searched exactly as asked, saved and loaded."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.curve import Point
from towers.index.mask import Mask
from towers.index.several import merged
from towers.types import ConfigError, DataError, Geometry, Hits

FORMAT = 4
"""Version of the files that save writes."""
FORMATS = (2, 3, FORMAT)
"""Versions that can be read."""
Ids = Sequence[Int64[np.ndarray, " _"]]
Allow = Int64[np.ndarray, " _"] | Mask
"""The only ids that may be returned, as a list or as a mask."""
Queries = Float32[np.ndarray, "q *i d"] | None
"""Vectors of users to measure by, if there are any."""
_LENGTH_TOLERANCE = 1e-3
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class Searcher(ABC):
    """Vectors that can be searched; made by an Index or by load.

    Attributes:
        kind: The name under which it is saved.
        exact: Whether the answer is the true best k, always.
        geometry: The geometry of the model that made the vectors.
        why: Why this kind was chosen, in one line; empty where it was asked for.
        curve: What was measured before it was chosen; not saved with it.
    """

    kind: ClassVar[str]
    exact: ClassVar[bool]
    curve: tuple[Point, ...] = ()

    def __init__(self, geometry: Geometry, why: str = "") -> None:
        self.geometry, self.why = geometry, why

    def __len__(self) -> int:
        return len(self.ids)

    @property
    @abstractmethod
    def ids(self) -> Int64[np.ndarray, " n"]:
        """What the caller calls the vectors, rising, [n]."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """The number of dimensions."""

    @property
    @abstractmethod
    def longest(self) -> float:
        """At least the length of the longest vector."""

    def search(
        self,
        queries: Float32[np.ndarray, "q *i d"],
        k: int,
        exclude: Ids | None = None,
        allow: Allow | None = None,
    ) -> Hits:
        """Return the best k of every query.

        Args:
            queries: User vectors, or any others of the same space, [q, d]; or [q, i, d], where each user asks with
                i queries and a video's score is the best of them.
            k: How many; slots beyond what exists and may be returned hold -1 and -inf.
            exclude: For each query the ids that it must not be given; ids that the index lacks change nothing.
            allow: The only ids that may be returned, to any query, or a Mask of them, which is translated once; ids
                that the index lacks change nothing.

        Raises:
            ConfigError: k below 1, or no whole number.
            DataError: Another dimension, a query that is not finite or whose scores could be beyond float32, or not
                one exclude per query.
        """
        check_k(k)
        if queries.ndim not in (2, 3):
            raise DataError(f"queries have shape {queries.shape}; give one a row, [q, {self.dim}], also for one alone")
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
        # The sum of all squares says of most queries, in one step, that none is infinite or too long.
        if not math.sqrt(np.vdot(queries, queries)) * self.longest < _FLOAT32_MAX:
            _check_finite("queries", queries)
            _check_scores(queries, self.longest)
        return self._find(queries, k, exclude, allow)

    def save(self, folder: Path) -> None:
        """Write the index into a folder, which is made where it is missing; not atomic by itself."""
        folder.mkdir(parents=True, exist_ok=True)
        header = {"kind": self.kind, "format": FORMAT, "geometry": self.geometry.value, "why": self.why}
        header |= self._save(folder)
        (folder / "index.json").write_text(json.dumps(header, sort_keys=True, indent=1), encoding="utf-8")

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> "Searcher":
        """Read what save wrote; the vectors stay on disk and are mapped."""

    @abstractmethod
    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None) -> Hits:
        """Return the hits of arguments that have been checked."""

    @abstractmethod
    def _save(self, _folder: Path) -> dict[str, Any]:
        """Write what the index holds; return what belongs in the header."""


@dataclass(kw_only=True)
class Index(ABC):
    """A way to index vectors; a variant's fields are its options, build does the work."""

    def build(
        self,
        vectors: Float32[np.ndarray, "n d"],
        ids: Int64[np.ndarray, " m"],
        geometry: Geometry,
        queries: Float32[np.ndarray, "q *i e"] | None = None,
    ) -> Searcher:
        """Return a searcher over the vectors.

        Args:
            vectors: One vector per video, [n, d].
            ids: What to call them, each ≥ 0 and different, [n].
            geometry: The geometry in which the model was trained; cosine asks for vectors of length 1.
            queries: Vectors of users, [q, d] or [q, i, d], for an index that measures or forms its lists by what users
                tell apart; the others do not look at them.

        Raises:
            DataError: Ids that are negative, repeated or not one per vector; a vector that is not finite, or not of
                length 1 (± 0.001) where the geometry is cosine; queries of another dimension, or not finite.
        """
        vectors, ids = checked(vectors, ids, geometry)
        if queries is not None:
            if queries.shape[-1] != vectors.shape[1]:
                raise DataError(
                    f"queries have {queries.shape[-1]} dimensions, the vectors {vectors.shape[1]}; take both from "
                    "one model"
                )
            _check_finite("queries", queries.reshape(-1, queries.shape[-1]))
        return self._build(vectors, ids, geometry, queries)

    @abstractmethod
    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        """Return a searcher over checked vectors, which come in the order of their ids."""


def check_k(k: int) -> None:
    """Refuse to look for none, or for a part of one.

    Raises:
        ConfigError: k below 1, or no whole number.
    """
    if type(k) is int and k > 0:
        return  # as nearly always, and in a tenth of the time of asking further
    if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
        raise ConfigError(f"k is {k!r}; ask for at least 1 candidate, in a whole number")


def checked(
    vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " m"], geometry: Geometry
) -> tuple[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"]]:
    """Return vectors and ids in the order of the ids, whole in memory; see Index.build for what is refused."""
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
    return np.ascontiguousarray(vectors), np.ascontiguousarray(ids)


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


def _check_scores(queries: np.ndarray, longest: float) -> None:
    highest = float(np.linalg.norm(queries.astype(np.float64), axis=1).max(initial=0)) * longest
    if highest > _FLOAT32_MAX:
        raise DataError(f"scores can reach {highest:.3g}, beyond float32's {_FLOAT32_MAX:.3g}; scale the vectors down")


def _check_lengths(vectors: np.ndarray, ids: np.ndarray) -> None:
    lengths = np.linalg.norm(vectors, axis=1)
    bad = np.abs(lengths - 1) > _LENGTH_TOLERANCE
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"row {row} of vectors (id {ids[row]}) has length {lengths[row]:.4g}; cosine geometry needs length 1 "
            "(± 0.001): normalise it, or declare geometry=dot in the model"
        )
