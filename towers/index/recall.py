"""How much of the exact answer an index finds."""

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.index import Searcher
from towers.types import DataError


def measured_recall(searcher: Searcher, reference: Searcher, queries: Float32[np.ndarray, "q *i d"], k: int) -> float:
    """Return the share of the reference's best k that the searcher finds too, over all queries.

    Args:
        searcher: The index to be measured.
        reference: An exact searcher over the same vectors and ids.
        queries: Real user vectors; made-up ones say little about a real index, [q, d] or [q, i, d].
        k: How many candidates of each query count.

    Returns:
        Found / wanted, between 0 and 1.

    Raises:
        DataError: A reference that is not exact, or nothing to find.
    """
    if not reference.exact:
        raise DataError(f"recall needs an exact reference, not {reference.kind}; build one with Exact()")
    wanted, given = reference.search(queries, k).ids, searcher.search(queries, k).ids
    if not (wanted >= 0).any():
        raise DataError(f"recall@{k} of {len(queries)} queries over {len(reference)} vectors has nothing to find")
    return share_found(wanted, given)


def share_found(wanted: Int64[np.ndarray, "q k"], given: Int64[np.ndarray, "q k"]) -> float:
    """Return the share of wanted ids that were given too, row by row; -1 is no id, and all of nothing is found.

    Example:
        >>> share_found(np.array([[7, 3], [5, -1]]), np.array([[3, 4], [5, -1]]))
        0.6666666666666666
    """
    found = sum(len(np.intersect1d(a[a >= 0], b)) for a, b in zip(wanted, given, strict=True))
    total = int((wanted >= 0).sum())
    return found / total if total else 1.0


def to_form(queries: Float32[np.ndarray, "q *i d"]) -> Float32[np.ndarray, "p *i d"]:
    """Return the half of some users' vectors by which lists are formed; the others measure what these find."""
    return queries[::2]


def to_measure(queries: Float32[np.ndarray, "q *i d"]) -> Float32[np.ndarray, "p *i d"]:
    """Return the half of some users' vectors by which recall is measured; one alone serves for both."""
    return queries[1::2] if len(queries) > 1 else queries
