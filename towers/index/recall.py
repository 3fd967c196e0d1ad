"""How much of the exact answer an index finds."""

import numpy as np
from jaxtyping import Float32

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
    total = int((wanted >= 0).sum())
    if not total:
        raise DataError(f"recall@{k} of {len(queries)} queries over {len(reference)} vectors has nothing to find")
    found = sum(len(np.intersect1d(a[a >= 0], b)) for a, b in zip(wanted, given, strict=True))
    return found / total
