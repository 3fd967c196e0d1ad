"""Asks the towers in training for hard candidates."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from towers.data import Positives
from towers.features import FeatureTable, Requests, Step
from towers.index import Exact, Searcher
from towers.models import TwoTower, query_vectors, video_vectors
from towers.types import RunError, TowersError

Taken = tuple[Float32[np.ndarray, "rows d"], Searcher]
"""Vectors of all video rows at a moment, and what searches those that may be found."""


@dataclass
class Miner:
    """Finds the videos that the towers rank first for a step's users: a `towers.features.Hardest`.

    A user is read by the encoder of now, before the window's last target; the videos' vectors, those of the user's
    history too, are older. They are taken at a call with `afresh`, a thread builds what searches them while training
    goes on, and the next such call begins to use both, whenever the thread was done. An epoch's first call waits for
    its own, and nothing else is kept: a resumed run finds what an unbroken one finds.

    Attributes:
        towers: In training; used for inference only, and left in the mode they are in.
        positives: What users are known to like, which is never found for them.
        users: Features of every user row.
        videos: Features of every video row.
        eligible: Rows that may be found, sorted, [c].
    """

    towers: TwoTower
    positives: Positives
    users: FeatureTable
    videos: FeatureTable
    eligible: Int64[np.ndarray, " c"]
    _asked: Taken | None = field(default=None, init=False, repr=False)
    _coming: "Future[Taken] | None" = field(default=None, init=False, repr=False)
    _worker: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, "towers-miner"), init=False, repr=False
    )

    def __call__(self, step: Step, askers: int, each: int, afresh: bool) -> Int64[np.ndarray, "a each"]:
        """Return rows for some of the step's windows, evenly spread over them; see `towers.features.Hardest`.

        Raises:
            RunError: The towers' vectors are not finite.
        """
        count = len(step.users)
        asking = np.arange(min(askers, count)) * count // min(askers, count)
        users = step.users[asking]
        try:
            if afresh or self._asked is None:
                self._asked = self._renewed(step.number == 0)
            vectors, searcher = self._asked
            requests = Requests.without_times(step.history[asking])
            queries = query_vectors(self.towers, vectors, requests, self.users.take(users))
        except TowersError as error:
            raise RunError(f"no hard candidates can be found: {error}; lower optim.learning_rate") from error
        known = [self.positives.of(user).astype(np.int64) for user in users]
        return searcher.search(queries, each, exclude=known).ids

    def _renewed(self, at_once: bool) -> Taken:
        """Take the videos' vectors as the towers are now; return those of the last time, unless it must be at once."""
        asked = None if at_once else self._asked if self._coming is None else self._coming.result()
        self._asked = self._coming = None  # so that, with the new ones, at most two are in memory at once
        vectors = video_vectors(self.towers, self.videos)
        if asked is None:
            return self._made(vectors)
        self._coming = self._worker.submit(self._made, vectors)
        return asked

    def _made(self, vectors: Float32[np.ndarray, "rows d"]) -> Taken:
        return vectors, Exact().build(vectors[self.eligible], self.eligible, self.towers.geometry)
