"""Approximate search: FAISS lists of fp16 codes, re-scored in float32."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from towers.index.exact import find_exactly
from towers.index.index import Filters, Index, Searcher
from towers.index.openmp import faiss
from towers.types import ConfigError, DataError, Geometry, Hits

_BLOCK = 1024
_POINTS_PER_LIST = 39
_ALIGNED = 16


class IvfSearcher(Searcher):
    """Looks into the lists nearest to a query, and scores what it finds there again in float32.

    Beside the fp16 codes (2 bytes a number) the float32 vectors (4 bytes) are kept: so scores are the same
    inner products that Exact gives, equal scores are ordered by the lower id, and rows that the lists cannot
    fill are searched exactly. After load they are mapped from disk, and only what is re-scored is read.
    """

    kind: ClassVar[str] = "ivf"
    exact: ClassVar[bool] = False

    def __init__(
        self,
        vectors: Float32[np.ndarray, "n d"],
        ids: Int64[np.ndarray, " n"],
        geometry: Geometry,
        lists: Any,  # noqa: ANN401
        nprobe: int,
    ) -> None:
        super().__init__(vectors, ids, geometry)
        self.lists, self.nprobe = lists, min(nprobe, lists.nlist)

    @classmethod
    def load(cls, folder: Path, header: dict[str, object]) -> Searcher:
        """Read what save wrote; vectors and codes stay on disk and are mapped."""
        vectors, ids = np.load(folder / "vectors.npy", mmap_mode="c"), np.load(folder / "ids.npy")
        lists = faiss.read_index(str(folder / "lists.faiss"), faiss.IO_FLAG_MMAP_IFC)
        searcher = cls(vectors, ids, Geometry(header["geometry"]), lists, int(str(header["nprobe"])))
        searcher.why = str(header["why"])
        return searcher

    def _save(self, _folder: Path) -> dict[str, object]:
        faiss.write_index(self.lists, str(_folder / "lists.faiss"))
        return {"nprobe": self.nprobe, "nlist": self.lists.nlist}

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, filters: Filters) -> Hits:
        wide = k + max(16, k // 4)
        few = filters.allowed is not None and len(filters.allowed) * 8 <= len(self)
        if few or wide >= len(self):
            return find_exactly(self.vectors, queries, k, filters)
        ids, scores = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        for start in range(0, len(queries), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(queries)))
            hits = self._find_block(queries[rows], k, wide, filters.take(rows))
            ids[rows], scores[rows] = hits.ids, hits.scores
        return Hits(ids, scores)

    def _find_block(self, queries: Float32[np.ndarray, "b d"], k: int, wide: int, filters: Filters) -> Hits:
        columns = self._probe(queries, wide, filters)
        found = self.vectors[columns]
        scores = np.matmul(found, queries[:, :, None])[:, :, 0]
        scores[columns < 0] = -np.inf
        order = np.lexsort((columns, -scores), axis=1)
        columns, scores = np.take_along_axis(columns, order, axis=1), np.take_along_axis(scores, order, axis=1)
        unsettled = _unsettled(scores, k, filters.left(len(self))).nonzero()[0]
        columns, scores = columns[:, :k].copy(), scores[:, :k].copy()
        if len(unsettled):
            hits = find_exactly(self.vectors, queries[unsettled], k, filters.take(unsettled))
            columns[unsettled], scores[unsettled] = hits.ids, hits.scores
        return Hits(columns, scores)

    def _probe(self, queries: Float32[np.ndarray, "b d"], wide: int, filters: Filters) -> Int64[np.ndarray, "b w"]:
        """Return the columns that the lists hold for each query, unsettled; what is excluded is never scored."""
        lifted = np.zeros((len(queries), self.lists.d), np.float32)
        lifted[:, : self.dim] = queries
        base = _bitmap(len(self), filters.allowed)
        bits = base.copy()
        options = faiss.SearchParametersIVF(nprobe=self.nprobe, sel=faiss.IDSelectorBitmap(bits))
        columns = np.empty((len(queries), wide), np.int64)
        filtered = np.diff(filters.offsets) > 0
        if not filtered.all():
            columns[~filtered] = self.lists.search(lifted[~filtered], wide, params=options)[1]
        for row in filtered.nonzero()[0]:
            excluded = filters.of(int(row))
            touched = excluded >> 3
            np.bitwise_and.at(bits, touched, ~(1 << (excluded & 7)).astype(np.uint8))
            columns[row] = self.lists.search(lifted[row : row + 1], wide, params=options)[1][0]
            bits[touched] = base[touched]
        return columns


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


def lift(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Return vectors of length 1 whose order of inner products with any padded query is the same.

    Lists are formed by direction, which loses long vectors of odd directions when lengths
    differ. One more dimension holds what each vector lacks to the longest one; queries have 0
    there. Padded with zeros to a multiple of 16, the width of the fastest code.

    Source:
        Bachrach et al. 2014, Speeding up the Xbox recommender system, the reduction of
        inner product to nearest neighbour.

    Example:
        >>> lift(np.array([[3, 0], [0, 4]], np.float32))[:, :3].tolist()
        [[0.75, 0.0, 0.661...], [0.0, 1.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    longest = max(float(lengths.max(initial=0.0)), np.finfo(np.float32).tiny)
    width = -(-(vectors.shape[1] + 1) // _ALIGNED) * _ALIGNED
    lifted = np.zeros((len(vectors), width), np.float32)
    lifted[:, : vectors.shape[1]] = vectors / longest
    lifted[:, vectors.shape[1]] = np.sqrt(np.maximum(1 - (lengths / longest) ** 2, 0))
    return lifted


@dataclass(kw_only=True)
class Ivf(Index):
    """FAISS inverted lists over fp16 codes: looks into nprobe of nlist lists; made for more than 50,000 videos.

    Attributes:
        nlist: How many lists; 0 takes 4 √n, but leaves each list 39 vectors or more.
        nprobe: How many lists a search looks into; more find more and take longer. nprobe = nlist looks at all.
    """

    nlist: int = 0
    nprobe: int = 64

    def __post_init__(self) -> None:
        if self.nlist < 0 or self.nprobe < 1:
            raise ConfigError(
                f"index.nlist is {self.nlist} and index.nprobe {self.nprobe}; "
                "nlist must be 0 (4 √n lists) or more, nprobe 1 or more"
            )

    def _build(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry) -> Searcher:
        if 0 < len(vectors) < self.nlist:
            raise DataError(f"index.nlist is {self.nlist}, but there are {len(vectors)} vectors; ask for fewer lists")
        nlist = self.nlist or max(1, min(round(4 * len(vectors) ** 0.5), len(vectors) // _POINTS_PER_LIST))
        codes = _padded(vectors) if geometry is Geometry.cosine else lift(vectors)
        lists = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(codes.shape[1]),
            codes.shape[1],
            nlist,
            faiss.ScalarQuantizer.QT_fp16,
            faiss.METRIC_INNER_PRODUCT,
            False,
        )
        lists.cp.spherical = True
        lists.cp.min_points_per_centroid = 1
        if len(codes):
            lists.train(codes)
            lists.add(codes)
        return IvfSearcher(vectors, ids, geometry, lists, self.nprobe)


def _padded(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    width = -(-vectors.shape[1] // _ALIGNED) * _ALIGNED
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
