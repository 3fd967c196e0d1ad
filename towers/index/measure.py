"""What a searcher takes and finds on this machine: time, memory, recall."""

import time
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.index.clusters import lift, number_of_lists, padded
from towers.index.curve import K
from towers.index.faiss_searcher import FaissSearcher
from towers.index.index import Searcher
from towers.index.ivf import IvfSearcher
from towers.index.recall import share_found
from towers.index.searcher import BlockSearcher
from towers.types import Geometry

QUERIES = 1000
"""At most so many are measured by."""
_ROUNDS, _PATIENCE_S, _LEAST = 3, 0.5, 100
_MB = 1e6


class Questions(NamedTuple):
    """What searchers are measured by.

    Attributes:
        queries: The vectors that ask, [q, d] or [q, i, d].
        wanted: The true best K of each, [q, K].
    """

    queries: Float32[np.ndarray, "q *i d"]
    wanted: Int64[np.ndarray, "q k"]

    @classmethod
    def to(cls, exact: Searcher, queries: Float32[np.ndarray, "q *i d"]) -> "Questions":
        """Return questions with the answers of an exact searcher; of too many, some evenly chosen ones."""
        some = queries[:: -(-len(queries) // QUERIES) or 1]
        return cls(some, exact.search(some, K).ids)

    def recall(self, searcher: Searcher) -> float:
        """Return the share of what is wanted that a searcher finds."""
        return share_found(self.wanted, searcher.search(self.queries, K).ids)

    def times_us(self, searcher: Searcher) -> Float64[np.ndarray, " s"]:
        """Return what searches take, one user at a time on one thread: for each the best of three turns.

        What else a machine does is not the searcher's, and seldom disturbs all three. Where searches are slow, fewer
        are timed: those of half a second, 100 at least.
        """
        took: list[list[float]] = [[]]
        for row in range(len(self.queries)):
            took[0].append(self._seconds(searcher, row))
            if row + 1 >= _LEAST and sum(took[0]) > _PATIENCE_S:
                break
        took += [[self._seconds(searcher, row) for row in range(len(took[0]))] for _ in range(_ROUNDS - 1)]
        return np.min(took, axis=0) * 1e6

    def _seconds(self, searcher: Searcher, row: int) -> float:
        query = self.queries[row : row + 1]
        began = time.perf_counter()
        searcher.search(query, K)
        return time.perf_counter() - began


def held_mb(searcher: Searcher) -> float:
    """Return what a search reads all over, in MB of 10^6 bytes: codes, lists, names, all but the vectors themselves.

    These are mapped from disk once an index is saved and loaded, and of them a search reads its last candidates: a
    little more than K with our own kinds, `factor` times K with those of FAISS.
    """
    if isinstance(searcher, FaissSearcher):
        return (searcher.codes_bytes() + 2 * searcher.ids.nbytes) / _MB
    if not isinstance(searcher, BlockSearcher):
        return 0.0
    lists = _bytes_of(searcher.lists) if isinstance(searcher, IvfSearcher) else 0
    return (_bytes_of(searcher.stock) - searcher.stock.blocks.vectors.nbytes + lists) / _MB


def _bytes_of(arrays: Any) -> int:  # noqa: ANN401
    return sum(each.nbytes if isinstance(each, np.ndarray) else _bytes_of(each) for each in arrays)


def expected_mb(kind: str, vectors: Float32[np.ndarray, "n d"], geometry: Geometry) -> float:
    """Return about what held_mb will say of an index of a kind over some vectors, before it is built."""
    n, dim = vectors.shape
    lists = number_of_lists(0, n)
    if kind in {"exact", "ivf"}:
        slots = n if kind == "exact" else n + 8 * lists
        places = 4 * 2 ** max(1, int(1.5 * slots)).bit_length()
        return (slots * (dim + 12.4) + places + (0 if kind == "exact" else lists * 5 * (dim + 8) + 4 * dim**2)) / _MB
    width = (padded if geometry is Geometry.cosine else lift)(vectors[:1]).shape[1]
    # Behind the code a name within FAISS and two without; fast-scan codes come in blocks of 32.
    each, list_ = {"ivf_pq": (width / 4, 16 * width / 4), "ivf_rabitq": (width / 8 + 8, 0.0)}[kind]
    return (n * (each + 24) + lists * (list_ + 4 * width)) / _MB
