"""A FAISS index under our contract."""

from copy import copy
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from towers.index.bits import Bits, as_words
from towers.index.columns import Filters, columns_of, filters_of, find_exactly
from towers.index.index import Allow, Ids, Searcher
from towers.index.mask import Mask
from towers.index.openmp import faiss
from towers.types import Geometry, Hits

_BLOCK, _CHUNK = 1024, 2**20
_FEW_OF = 8
_ALL_EQUAL = 16
"""Candidates beyond those that are scored, which show whether equal scores go on where nobody looked."""


class FaissSearcher(Searcher):
    """Has FAISS find more than was asked for, by codes, and scores that in float32.

    So scores are the same inner products that Exact gives, equal ones are ordered by the lower id, and rows that
    FAISS cannot fill are searched exactly. After load vectors and codes are mapped from disk, where FAISS can.

    Attributes:
        kind: The name under which it is saved.
        codes: The index of FAISS.
        effort: How far it searches: wide, how many candidates are scored for each that is asked for; and nprobe, of
            lists, or ef, of a graph.
    """

    exact: ClassVar[bool] = False

    def __init__(
        self,
        kind: str,
        vectors: Float32[np.ndarray, "n d"],
        ids: Int64[np.ndarray, " n"],
        geometry: Geometry,
        codes: Any,  # noqa: ANN401
        effort: dict[str, int | float],
    ) -> None:
        super().__init__(geometry)
        self.kind, self.codes, self.effort = kind, codes, effort  # type: ignore[misc]
        self._vectors, self._ids = vectors, ids
        self._names = np.append(ids, -1)
        self._words = -(-len(ids) // 16)
        self._bits = Bits(lambda wanted: columns_of(ids, wanted).astype(np.int32), self._words)
        self._allowed = WeakKeyDictionary[Mask, Int64[np.ndarray, " allowed"]]()
        self._longest = float(np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64).max(initial=0)))

    @property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """What the caller calls the vectors, rising, [n]."""
        return self._ids

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self._vectors.shape[1])

    @property
    def longest(self) -> float:
        """The length of the longest vector."""
        return self._longest

    def probing(self, nprobe: int, factor: float) -> "FaissSearcher":
        """Return this searcher, of lists, with another effort; all else is shared."""
        other = copy(self)
        other.effort = {"wide": factor, "nprobe": nprobe}
        return other

    def codes_bytes(self) -> int:
        """Return how many bytes FAISS would write of its index; nothing is written."""
        sizes: list[int] = []
        writer = faiss.BufferedIOWriter(faiss.PyCallbackIOWriter(lambda data: sizes.append(len(data)), _CHUNK), _CHUNK)
        faiss.write_index(self.codes, writer)
        del writer  # which writes what it still holds
        return sum(sizes)

    @classmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> Searcher:
        """Read what save wrote."""
        vectors, ids = np.load(folder / "vectors.npy", mmap_mode="c"), np.load(folder / "ids.npy")
        codes = faiss.read_index(str(folder / "codes.faiss"), faiss.IO_FLAG_MMAP_IFC)
        searcher = cls(header["kind"], vectors, ids, Geometry(header["geometry"]), codes, header["effort"])
        searcher.why = header["why"]
        return searcher

    def _save(self, _folder: Path) -> dict[str, Any]:
        np.save(_folder / "vectors.npy", self._vectors)
        np.save(_folder / "ids.npy", self._ids)
        faiss.write_index(self.codes, str(_folder / "codes.faiss"))
        return {"effort": self.effort}

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None) -> Hits:
        filters = filters_of(self._ids, len(queries), exclude, self._columns(allow))
        wide = round(k * self.effort["wide"]) + _ALL_EQUAL
        few = filters.allowed is not None and len(filters.allowed) * _FEW_OF <= len(self)
        if few or wide >= len(self):
            hits = find_exactly(self._vectors, queries, k, filters)
            return Hits(self._names[hits.ids], hits.scores)
        ids, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        for start in range(0, len(queries), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(queries)))
            hits = self._find_block(queries[rows], k, wide, filters.take(rows))
            ids[rows], scores[rows] = hits.ids, hits.scores
        return Hits(self._names[ids], scores)

    def _columns(self, allow: Allow | None) -> Int64[np.ndarray, " allowed"] | None:
        """Return the only columns that may be returned; of a mask they are remembered."""
        if allow is None:
            return None
        if not isinstance(allow, Mask):
            return columns_of(self._ids, allow)
        known = self._allowed.get(allow)
        if known is None:
            words = as_words(self._bits.of(allow), self._words)
            flags = np.unpackbits(words.view(np.uint8), count=len(self), bitorder="little")
            known = self._allowed[allow] = np.flatnonzero(flags)
        return known

    def _find_block(self, queries: Float32[np.ndarray, "b d"], k: int, wide: int, filters: Filters) -> Hits:
        columns = self._probe(queries, wide, filters)
        found = self._vectors[columns]
        scores = np.matmul(found, queries[:, :, None])[:, :, 0]
        scores[columns < 0] = -np.inf
        order = np.lexsort((columns, -scores), axis=1)
        columns, scores = np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)
        unsettled = _unsettled(scores, k, filters.left(len(self))).nonzero()[0]
        columns, scores = columns[:, :k].copy(), scores[:, :k].copy()
        if len(unsettled):
            hits = find_exactly(self._vectors, queries[unsettled], k, filters.take(unsettled))
            columns[unsettled], scores[unsettled] = hits.ids, hits.scores
        return Hits(columns, scores)

    def _probe(self, queries: Float32[np.ndarray, "b d"], wide: int, filters: Filters) -> Int64[np.ndarray, "b w"]:
        """Return the columns that FAISS finds for each query, unsettled; what is excluded is never scored."""
        lifted = np.zeros((len(queries), self.codes.d), np.float32)
        lifted[:, : self.dim] = queries
        base = _bitmap(len(self), filters.allowed)
        bits = base.copy()
        options = self._options(faiss.IDSelectorBitmap(bits))
        columns = np.empty((len(queries), wide), np.int64)
        filtered = np.diff(filters.offsets) > 0
        if not filtered.all():
            columns[~filtered] = self.codes.search(lifted[~filtered], wide, params=options)[1]
        for row in filtered.nonzero()[0]:
            excluded = filters.of(int(row))
            touched = excluded >> 3
            np.bitwise_and.at(bits, touched, ~(1 << (excluded & 7)).astype(np.uint8))
            columns[row] = self.codes.search(lifted[row : row + 1], wide, params=options)[1][0]
            bits[touched] = base[touched]
        return columns

    def _options(self, selector: Any) -> Any:  # noqa: ANN401
        if "ef" in self.effort:
            return faiss.SearchParametersHNSW(efSearch=int(self.effort["ef"]), sel=selector)
        return faiss.SearchParametersIVF(nprobe=int(self.effort["nprobe"]), sel=selector)


def _unsettled(scores: Float32[np.ndarray, "b w"], k: int, left: Int64[np.ndarray, " b"]) -> Bool[np.ndarray, " b"]:
    """Return which rows hold fewer than they could, or end in equal scores that may go on where nobody looked."""
    short = np.isfinite(scores).sum(axis=1) < np.minimum(k, left)
    torn = (scores[:, k - 1] == scores[:, -1]) & np.isfinite(scores[:, k - 1])
    return np.logical_or(short, torn)


def _bitmap(n: int, allowed: Int64[np.ndarray, " allowed"] | None) -> UInt8[np.ndarray, " bytes"]:
    """Return one bit per column, set where the column may be returned."""
    if allowed is None:
        return np.full((n + 7) // 8, 255, np.uint8)
    flags = np.zeros(n, bool)
    flags[allowed] = True
    return np.packbits(flags, bitorder="little")
