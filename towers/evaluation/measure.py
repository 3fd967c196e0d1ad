"""Ranked lists → the figures of a report, named and computed as the referee does."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.interval import Figure, intervals
from towers.metrics import ranking
from towers.types import DataError, Hits

HEADLINE = ("recall@20", "recall@100", "precision@10", "f1@10", "ndcg@10", "hit@10")
"""What tables show."""
DEPTH = max(ranking.CUTOFFS)
USERS_AT_ONCE = 8192


@dataclass(frozen=True)
class Measured:
    """What some ranked lists are worth.

    Attributes:
        figures: Means over users with a past, with intervals; counts as plain numbers.
        recall: Recall@100 of each user of the set, with a past or without, [q].
        found: Whether each video to be found is among its user's first 100, [m].
        recall_by_k: Mean recall at k = 1 … 100 over users with a past.
        shown: How many users (with a past) each catalogue position was shown to, [catalogue].
    """

    figures: dict[str, Figure | float]
    recall: Float64[np.ndarray, " q"]
    found: Bool[np.ndarray, " m"]
    recall_by_k: list[float]
    shown: Int64[np.ndarray, " catalogue"]

    def value(self, name: str) -> float:
        """Return a figure without its interval."""
        figure = self.figures[name]
        return figure["value"] if isinstance(figure, dict) else figure


def measure(lists: Iterable[Hits], users: EvaluationSet, new_video: np.ndarray, draws: int, seed: int) -> Measured:
    """Return what the lists are worth.

    The lists are looked at one block after the other and none is kept. What stays is 25 float64
    per user, twice while the intervals are drawn: 0.4 GB for a million users; what is kept of that
    is 8 B per user and 1 B per video to be found.

    Args:
        lists: Video rows, best first, [q, 100], in blocks of users in the order of the set.
        users: Whose lists they are.
        new_video: Whether nobody had watched a catalogue position before the split, [catalogue] bool.
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Raises:
        DataError: No user with a past, lists of more or fewer users, or a figure that is not finite.
    """
    warm = users.warm
    if not warm.any():
        split = users.split.name
        raise DataError(f"no user of the {split} split has a past; move the cut (cut.{split}) later")
    tally = _tally(lists, users)
    figures: dict[str, Figure | float] = {"users": float(warm.sum())}
    figures |= dict(zip(tally.names, intervals(tally.values[warm], draws, seed), strict=True))
    figures["coverage@100"] = _plain(np.count_nonzero(tally.shown) / users.catalogue)
    figures |= _cold(tally.found, users, new_video, draws, seed)
    recall = tally.values[:, tally.names.index("recall@100")].copy()
    if (~warm).any():
        figures["cold users"] = float((~warm).sum())
        figures["cold users: recall@100"] = intervals(recall[~warm][:, None], draws, seed)[0]
    return Measured(figures, recall, tally.found, (tally.by_k / warm.sum()).tolist(), tally.shown)


@dataclass(frozen=True)
class _Tally:
    """What is added up over blocks of users: names and values [q, 25] of the metrics, and the rest as in Measured."""

    names: list[str]
    values: Float64[np.ndarray, "q metrics"]
    found: Bool[np.ndarray, " m"]
    by_k: Float64[np.ndarray, " k"]
    shown: Int64[np.ndarray, " catalogue"]


def _tally(lists: Iterable[Hits], users: EvaluationSet) -> _Tally:
    names = [f"{name}@{k}" for k in ranking.CUTOFFS for name in ranking.PER_USER] + [f"mrr@{DEPTH}"]
    values = np.empty((len(users), len(names)))
    found = np.zeros(len(users.truth), bool)
    by_k, shown = np.zeros(DEPTH), np.zeros(users.catalogue, np.int64)
    begun = end = 0
    for hits in pieces(lists):
        end = begun + len(hits.ids)
        if end > len(users):
            break
        block = users.pick(np.arange(begun, end))
        good, warm = block.hits(hits.ids), block.warm
        table = ranking.per_user(good, block.relevant)
        for column, name in enumerate(names):
            values[begun:end, column] = table[name]
        found[users.truth_offsets[begun] : users.truth_offsets[end]] = block.found(hits.ids, good)
        # Row after row onto what is there: the sum is the same to the last bit however users are parted.
        share = good[warm].cumsum(1) / block.relevant[warm][:, None]
        by_k = np.add.reduce(np.concatenate([by_k[None], share]), axis=0)
        ids = hits.ids[warm]
        shown += np.bincount(ids[ids >= 0] - FIRST_ROW, minlength=users.catalogue)
        begun = end
    if begun != len(users) or end != begun:
        raise DataError(f"there are lists of {max(begun, end):,} users or more and {len(users):,} users; give one each")
    return _Tally(names, values, found, by_k, shown)


def pieces(lists: Iterable[Hits]) -> Iterator[Hits]:
    """Yield the same lists in blocks of at most `USERS_AT_ONCE` users."""
    for hits in lists:
        for start in range(0, len(hits.ids), USERS_AT_ONCE):
            part = slice(start, start + USERS_AT_ONCE)
            yield Hits(hits.ids[part], hits.scores[part])


def recall_within(
    found: Bool[np.ndarray, " m"], users: EvaluationSet, wanted: Bool[np.ndarray, " m"]
) -> tuple[Float64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Return recall@100 of the users who have any of the wanted videos to find, and their places, [p].

    Args:
        found: Whether each video to be found is among its user's first 100, [m].
        users: The set.
        wanted: Which of the videos to be found count, [m].

    Example:
        A user who seeks three videos, two of them wanted, one of these found, has .5.
    """
    owner = users.truth_owner
    counts = np.bincount(owner[wanted], minlength=len(users))
    at = np.flatnonzero(counts)
    return np.bincount(owner[wanted & found], minlength=len(users))[at] / counts[at], at


def _cold(
    found: Bool[np.ndarray, " m"], users: EvaluationSet, new_video: np.ndarray, draws: int, seed: int
) -> dict[str, Figure | float]:
    """Return recall over videos that nobody had watched before, for users with a past who found one."""
    wanted = new_video[users.truth - FIRST_ROW] & users.warm[users.truth_owner]
    values, at = recall_within(found, users, wanted)
    if not len(at):
        return {}
    figure = intervals(values[:, None], draws, seed)[0]
    return {"cold videos: users": float(len(at)), "cold videos: recall@100": figure}


def _plain(value: float) -> Figure:
    """Return a figure that is counted, not estimated: its interval is itself."""
    return {"value": value, "low": value, "high": value}
