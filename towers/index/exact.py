"""Exact search over every vector."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.index import Filters, Index, Searcher
from towers.index.top_k import as_tensor, search_all
from towers.types import Geometry, Hits


class ExactSearcher(Searcher):
    """Looks at every vector; the reference for every other kind."""

    kind: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True

    @classmethod
    def load(cls, folder: Path, header: dict[str, object]) -> Searcher:
        """Read what save wrote; the vectors stay on disk and are mapped."""
        vectors, ids = np.load(folder / "vectors.npy", mmap_mode="c"), np.load(folder / "ids.npy")
        return cls(vectors, ids, Geometry(header["geometry"]), str(header["why"]))

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, filters: Filters) -> Hits:
        return find_exactly(self.vectors, queries, k, filters)

    def _save(self, _folder: Path) -> dict[str, object]:
        return {}


def find_exactly(
    vectors: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"], k: int, filters: Filters
) -> Hits:
    """Return the best columns that the filters leave; a list of allowed columns is cut out before the product."""
    left = as_tensor(queries)
    if filters.allowed is None:
        return search_all(left, as_tensor(vectors), k, (filters.offsets, filters.columns))
    allowed = filters.allowed
    inside = np.isin(filters.columns, allowed)
    offsets = np.concatenate([[0], np.cumsum(inside)]).astype(np.int64)[filters.offsets]
    columns = np.searchsorted(allowed, filters.columns[inside])
    hits = search_all(left, as_tensor(vectors[allowed]), k, (offsets, columns))
    return Hits(np.append(allowed, -1)[hits.ids], hits.scores)


@dataclass(kw_only=True)
class Exact(Index):
    """Blocked matrix product over all vectors: no recall is lost; right up to some tens of thousands of videos.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1]], np.float32)
        >>> searcher = Exact().build(vectors, np.array([70, 80]), Geometry.cosine)
        >>> searcher.search(vectors, 2, exclude=[np.array([70]), np.array([], int)]).ids.tolist()
        [[80, -1], [80, 70]]
    """

    def _build(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry) -> Searcher:
        return ExactSearcher(vectors, ids, geometry)
