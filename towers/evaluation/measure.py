"""Ranked lists → the figures of a report, named and computed as the referee does."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.interval import Figure, intervals
from towers.metrics import ranking
from towers.types import DataError, Hits

HEADLINE = ("recall@20", "recall@100", "precision@10", "f1@10", "ndcg@10", "hit@10")
"""What tables show."""


@dataclass(frozen=True)
class Measured:
    """What some ranked lists are worth.

    Attributes:
        figures: Means over users with a past, with intervals; counts as plain numbers.
        per_user: Metric → value of each user of the set, with a past or without, [q].
        recall_by_k: Mean recall at k = 1 … 100 over users with a past.
        shown: How many users (with a past) each catalogue position was shown to, [catalogue].
    """

    figures: dict[str, Figure | float]
    per_user: dict[str, Float64[np.ndarray, " q"]]
    recall_by_k: list[float]
    shown: Int64[np.ndarray, " catalogue"]

    def value(self, name: str) -> float:
        """Return a figure without its interval."""
        figure = self.figures[name]
        return figure["value"] if isinstance(figure, dict) else figure


def measure(lists: Hits, users: EvaluationSet, new_video: np.ndarray, draws: int, seed: int) -> Measured:
    """Return what the lists are worth.

    Args:
        lists: Video rows, best first, [q, 100].
        users: Whose lists they are.
        new_video: Whether nobody had watched a catalogue position before the split, [catalogue] bool.
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Raises:
        DataError: No user with a past, or a figure that is not finite.
    """
    warm = users.warm
    if not warm.any():
        split = users.split.name
        raise DataError(f"no user of the {split} split has a past; move the cut (cut.{split}) later")
    hits = users.hits(lists.ids)
    table = ranking.per_user(hits, users.relevant)
    figures: dict[str, Figure | float] = {"users": float(warm.sum())}
    columns = np.stack([values[warm] for values in table.values()], axis=1)
    figures |= dict(zip(table, intervals(columns, draws, seed), strict=True))
    shown = np.bincount(lists.ids[warm][lists.ids[warm] >= 0] - FIRST_ROW, minlength=users.catalogue)
    figures["coverage@100"] = _plain(np.count_nonzero(shown) / users.catalogue)
    figures |= _cold(lists, users, new_video, draws, seed)
    if (~warm).any():
        figures["cold users"] = float((~warm).sum())
        figures["cold users: recall@100"] = intervals(table["recall@100"][~warm][:, None], draws, seed)[0]
    by_k = (hits[warm].cumsum(1) / users.relevant[warm][:, None]).mean(0).tolist()
    return Measured(figures, table, by_k, shown)


def recall_within(lists: Hits, part: EvaluationSet) -> tuple[Float64[np.ndarray, " p"], Int64[np.ndarray, " p"]]:
    """Return recall@100 of the users who have something to find in a part, and their places, [p].

    Args:
        lists: Video rows of all users, [q, 100].
        part: The set with only some of the videos to be found, as `EvaluationSet.keep` gives it.
    """
    at = np.flatnonzero(part.relevant)
    return ranking.recall(part.hits(lists.ids)[at], part.relevant[at], 100), at


def _cold(lists: Hits, users: EvaluationSet, new_video: np.ndarray, draws: int, seed: int) -> dict[str, Figure | float]:
    """Return recall over videos that nobody had watched before, for users with a past who found one."""
    part = users.keep(new_video[users.truth - FIRST_ROW] & users.warm[users.truth_owner])
    values, at = recall_within(lists, part)
    if not len(at):
        return {}
    found = intervals(values[:, None], draws, seed)[0]
    return {"cold videos: users": float(len(at)), "cold videos: recall@100": found}


def _plain(value: float) -> Figure:
    """Return a figure that is counted, not estimated: its interval is itself."""
    return {"value": value, "low": value, "high": value}
