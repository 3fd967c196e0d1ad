"""What a live index knows of itself: the queries that it was asked last, and how much of their answers it finds."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from towers.index.live.moment import Moment
from towers.index.recall import share_found

K = 100
"""Recall is measured among so many."""
QUERIES = 256
"""Recall is measured with at most so many queries."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a live index knows of itself.

    Attributes:
        recall: Share of the true best 100 that it finds.
        recall_built: The same when the lists of its main part were made.
        fallen: Whether it is lower by more than Upkeep.fall: lists are being made anew then, where it may write.
        queries: How many queries that was measured by.
        recent: How many videos came or were replaced since the main part was built.
        tombstones: How many of the main part are not found any more.
    """

    recall: float
    recall_built: float
    fallen: bool
    queries: int
    recent: int
    tombstones: int


class Heard:
    """The queries that were searched for last."""

    def __init__(self, dim: int) -> None:
        self._queries, self._count = np.zeros((QUERIES, dim), np.float32), 0

    def note(self, queries: Float32[np.ndarray, "q d"]) -> None:
        """Keep the first query of a search; searches at once may overwrite each other's."""
        if len(queries):
            self._queries[self._count % QUERIES] = queries[0]
            self._count += 1

    def queries(self) -> Float32[np.ndarray, "q d"]:
        """Return what was kept, a copy."""
        return self._queries[: self._count].copy()


def recall_of(now: Moment, queries: Float32[np.ndarray, "q d"]) -> float:
    """Return the share of the true best K of queries that a moment finds; 1 where there is nothing to find."""
    wanted, given = (moment.find(queries, K, None, None).ids for moment in (now.exactly(), now))
    return share_found(wanted, given)
