"""Users with several queries each: searched one by one, merged into one list."""

import numpy as np
from jaxtyping import Int64

from towers.types import Hits


def merged(hits: Hits, queries: int) -> Hits:
    """Return one list for each user from those of their queries: a video's score is the best that it has.

    The best k of the merged list are all among the best k of a query, so nothing is lost.

    Args:
        hits: Of each user's queries one after the other, [users * queries, k].
        queries: How many each user has.

    Returns:
        The best k of each user, [users, k]; equal scores by the lower id.

    Example:
        >>> two = Hits(np.array([[7, 3], [3, 5]]), np.array([[0.9, 0.2], [0.6, 0.1]], np.float32))
        >>> merged(two, 2).ids.tolist(), merged(two, 2).scores.round(1).tolist()
        ([[7, 3]], [[0.8999999761581421, 0.6000000238418579]])
    """
    k = hits.ids.shape[1]
    shape = (len(hits.ids) // queries, queries * k)
    ids, scores = hits.ids.reshape(shape), hits.scores.reshape(shape)
    order = np.lexsort((-scores, ids), axis=1)
    ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
    again = np.zeros(ids.shape, bool)
    again[:, 1:] = ids[:, 1:] == ids[:, :-1]
    ids, scores = np.where(again, -1, ids), np.where(again, np.float32(-np.inf), scores)
    best = np.lexsort((ids, -scores), axis=1)[:, :k]
    return Hits(np.take_along_axis(ids, best, axis=1), np.take_along_axis(scores, best, axis=1))


def for_each(
    offsets: Int64[np.ndarray, " users_1"], columns: Int64[np.ndarray, " n"], queries: int
) -> tuple[Int64[np.ndarray, " q_1"], Int64[np.ndarray, " m"]]:
    """Return users' ragged lists once for each of their queries.

    Example:
        >>> offsets, columns = for_each(np.array([0, 2, 3]), np.array([5, 6, 9]), 2)
        >>> offsets.tolist(), columns.tolist()
        ([0, 2, 4, 5, 6], [5, 6, 5, 6, 9, 9])
    """
    begins, counts = np.repeat(offsets[:-1], queries), np.repeat(np.diff(offsets), queries)
    ends = np.concatenate([[0], np.cumsum(counts)])
    return ends, columns[np.arange(ends[-1]) + np.repeat(begins - ends[:-1], counts)]
