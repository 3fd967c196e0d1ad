"""What a ranked list is worth to each user: one pure function per metric, numpy in and numpy out.

Every function takes `hits [q, depth]`, where `hits[u, r]` says whether the candidate that
user u is shown at rank r + 1 is one of the user's relevant videos, and `relevant [q]`, how
many videos there were to find. Nothing here sees a score, so no metric can depend on the
scale, the sign or the offset of a model's scores.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float64, Int

from towers.types import ConfigError, DataError

CUTOFFS = (10, 20, 50, 100)
"""The list lengths k at which everything is reported."""

HitMatrix = Bool[np.ndarray, "q depth"]
Relevant = Int[np.ndarray, " q"]
PerUser = Float64[np.ndarray, " q"]


def found(hits: HitMatrix, relevant: Relevant, k: int) -> Int[np.ndarray, " q"]:
    """Count the relevant videos among each user's first k, [q].

    Raises:
        ConfigError: A k below 1 or beyond the depth of the lists.
        DataError: A user with nothing to find, whose metrics are undefined; leave such users out.

    Example:
        >>> found(np.array([[True, False, True]]), np.array([2]), k=2).tolist()
        [1]
    """
    if not 1 <= k <= hits.shape[1]:
        raise ConfigError(f"k is {k} and the lists are {hits.shape[1]} deep; ask for a k from 1 to {hits.shape[1]}")
    if relevant.size and relevant.min() < 1:
        row = int(relevant.argmin())
        raise DataError(
            f"user {row} has {relevant[row]} relevant videos, metrics need at least 1; leave out such users"
        )
    return hits[:, :k].sum(1)


def hit(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return 1 for each user who finds anything among the first k, else 0, [q].

    Formula: `1 if |L∩R| > 0 else 0`, L the first k, R the relevant videos. Also called success
    or hit rate.

    Example:
        >>> hit(np.array([[False, True], [False, False]]), np.array([1, 3]), k=2).tolist()
        [1.0, 0.0]
    """
    return (found(hits, relevant, k) > 0).astype(float)


def recall(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return the share of each user's relevant videos that the first k hold, [q].

    Formula: `|L∩R| / |R|`: a user with more than k relevant videos cannot reach 1. The form
    that divides by `min(|R|, k)` goes by the same name elsewhere; here it is `recall_capped`.

    Source:
        Manning, Raghavan, Schütze 2008, Introduction to Information Retrieval, §8.3.

    Example:
        >>> recall(np.array([[True, False]]), np.array([4]), k=2).tolist()
        [0.25]
    """
    return found(hits, relevant, k) / relevant


def recall_capped(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return recall against what k places could hold at best, [q].

    Formula: `|L∩R| / min(|R|, k)`; never below `recall`.

    Source:
        Liang et al. 2018, Variational Autoencoders for Collaborative Filtering, §4.2 (Recall@R).

    Example:
        >>> recall_capped(np.array([[True, False]]), np.array([4]), k=2).tolist()
        [0.5]
    """
    return found(hits, relevant, k) / np.minimum(relevant, k)


def precision(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return the share of the first k that is relevant, [q].

    Formula: `|L∩R| / k`, also where a list is shorter than k: an empty place is a miss.

    Source:
        Manning, Raghavan, Schütze 2008, Introduction to Information Retrieval, §8.4.

    Example:
        >>> precision(np.array([[True, False]]), np.array([4]), k=2).tolist()
        [0.5]
    """
    return found(hits, relevant, k) / k


def f1(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return the harmonic mean of each user's precision and recall, [q].

    Formula: `2PR / (P + R)` per user, 0 where nothing is found; the report averages it over
    users, which is not the harmonic mean of the averages.

    Example:
        >>> f1(np.array([[True, False]]), np.array([4]), k=2).round(4).tolist()
        [0.3333]
    """
    count = found(hits, relevant, k)
    p, r = count / k, count / relevant
    return np.where(count > 0, 2 * p * r / np.maximum(p + r, 1e-12), 0)


def ndcg(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return the discounted gain of the first k over the best that k places could hold, [q].

    Formula: `Σ_r hit_r / log2(r + 1)` over the same sum with the first `min(|R|, k)` places
    all hits; r counts from 1, relevance is 0 or 1, the ideal is capped at k.

    Source:
        Järvelin and Kekäläinen 2002, Cumulated gain-based evaluation of IR techniques, with
        the log2(r + 1) discount of Burges et al. 2005.

    Example:
        >>> ndcg(np.array([[False, True]]), np.array([1]), k=2).round(4).tolist()
        [0.6309]
    """
    found(hits, relevant, k)
    discount = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.r_[0, np.cumsum(discount)]
    return (hits[:, :k] * discount).sum(1) / ideal[np.minimum(relevant, k)]


def mrr(hits: HitMatrix, relevant: Relevant, k: int) -> PerUser:
    """Return one over the rank of each user's first hit within the first k, 0 where there is none, [q].

    Formula: `1 / min{r ≤ k : hit_r}`.

    Source:
        Voorhees 1999, The TREC-8 Question Answering Track Report.

    Example:
        >>> mrr(np.array([[False, True], [False, False]]), np.array([1, 1]), k=2).tolist()
        [0.5, 0.0]
    """
    any_found = found(hits, relevant, k) > 0
    return 1 / np.where(any_found, hits[:, :k].argmax(1) + 1, np.inf)


PER_USER: dict[str, Callable[[HitMatrix, Relevant, int], PerUser]] = {
    "hit": hit,
    "recall": recall,
    "recall_capped": recall_capped,
    "precision": precision,
    "f1": f1,
    "ndcg": ndcg,
}
"""Metrics reported at every cutoff; `mrr` is reported at the full depth alone."""


def per_user(hits: HitMatrix, relevant: Relevant, cutoffs: tuple[int, ...] = CUTOFFS) -> dict[str, PerUser]:
    """Return every metric of every user under its printed name, `recall@20` and so on.

    Args:
        hits: Whether the video at each rank is relevant, [q, depth]; depth at least the largest cutoff.
        relevant: How many videos each user had to find, [q]; at least 1.
        cutoffs: List lengths; `mrr` is given at the largest alone.

    Returns:
        Metric name → values in the order of the users, [q] float64.

    Raises:
        ConfigError: A cutoff beyond the depth of the lists.
        DataError: A user with nothing to find.

    Example:
        >>> table = per_user(np.array([[False, True]]), np.array([1]), cutoffs=(1, 2))
        >>> sorted(table)[:4], table["recall@2"].tolist()
        (['f1@1', 'f1@2', 'hit@1', 'hit@2'], [1.0])
    """
    table = {f"{name}@{k}": function(hits, relevant, k) for k in cutoffs for name, function in PER_USER.items()}
    return table | {f"mrr@{max(cutoffs)}": mrr(hits, relevant, max(cutoffs))}


def hit_matrix(
    rows: Int[np.ndarray, "q depth"], truth_offsets: Int[np.ndarray, " q1"], truth: Int[np.ndarray, " n"], width: int
) -> Bool[np.ndarray, "q depth"]:
    """Mark which listed videos are among each user's relevant ones, [q, depth].

    Args:
        rows: Listed videos, best first, [q, depth] in [-1, width); -1 is an empty place.
        truth_offsets: Where each user's relevant videos start, [q + 1].
        truth: Relevant videos of all users, one user after the other, [n] in [0, width).
        width: One more than the largest possible video.

    Returns:
        True where a listed video is relevant to its user, [q, depth].

    Example:
        >>> hit_matrix(np.array([[4, 1], [1, -1]]), np.array([0, 1, 2]), np.array([1, 4]), width=5).tolist()
        [[False, True], [False, False]]
    """
    owner = np.repeat(np.arange(len(rows)), np.diff(truth_offsets))
    wanted = np.unique(owner * np.int64(width) + truth)
    if not len(wanted):
        return np.zeros(rows.shape, bool)
    asked = np.arange(len(rows))[:, None] * np.int64(width) + rows
    place = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
    return (wanted[place] == asked) & (rows >= 0)
