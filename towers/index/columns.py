"""Filters in columns: which rows of a matrix of vectors a search may return."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.types import Hits


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


def columns_of(ids: Int64[np.ndarray, " n"], wanted: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " found"]:
    """Return the columns of ids, rising, those that are not there left out.

    Args:
        ids: Of the columns, rising, [n].
        wanted: Which, [m].
    """
    wanted = np.unique(wanted)
    where = np.minimum(np.searchsorted(ids, wanted), max(len(ids) - 1, 0))
    return where[ids[where] == wanted] if len(ids) else where[:0]


def filters_of(
    ids: Int64[np.ndarray, " n"],
    q: int,
    exclude: Sequence[Int64[np.ndarray, " _"]] | None,
    allowed: Int64[np.ndarray, " allowed"] | None,
) -> Filters:
    """Return filters by ids as filters by columns.

    Args:
        ids: Of the columns, rising, [n].
        q: How many queries there are.
        exclude: For each query the ids that it must not be given, q arrays of any lengths; None for none.
        allowed: The only columns that may be returned, rising; None for all.

    Returns:
        Filters of q + 1 offsets; ids that no column has are left out.

    Example:
        >>> filters = filters_of(np.array([3, 7, 9]), 2, [np.array([9, 3, 5]), np.array([7])], np.array([1, 2]))
        >>> filters.offsets.tolist(), filters.columns.tolist(), filters.allowed.tolist()
        ([0, 2, 3], [0, 2, 1], [1, 2])
    """
    if exclude is None:
        return Filters(np.zeros(q + 1, np.int64), np.empty(0, np.int64), allowed)
    gone = [columns_of(ids, each) for each in exclude]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in gone])]).astype(np.int64)
    return Filters(offsets, np.concatenate([np.empty(0, np.int64), *gone]), allowed)


def find_exactly(
    vectors: Float32[np.ndarray, "n d"], queries: Float32[np.ndarray, "q d"], k: int, filters: Filters
) -> Hits:
    """Return the best columns that the filters leave; a list of allowed columns is cut out before the product."""
    from towers.index.in_torch import as_tensor, search_all

    left = as_tensor(queries)
    if filters.allowed is None:
        return search_all(left, as_tensor(vectors), k, (filters.offsets, filters.columns))
    allowed = filters.allowed
    inside = np.isin(filters.columns, allowed)
    offsets = np.concatenate([[0], np.cumsum(inside)]).astype(np.int64)[filters.offsets]
    columns = np.searchsorted(allowed, filters.columns[inside])
    hits = search_all(left, as_tensor(vectors[allowed]), k, (offsets, columns))
    return Hits(np.append(allowed, -1)[hits.ids], hits.scores)
