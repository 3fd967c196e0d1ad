"""Asks the towers in training for hard candidates."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int64

from towers.data import Positives
from towers.features import FeatureTable, Requests, Step
from towers.index import Exact, Searcher
from towers.models import TwoTower, query_vectors, video_vectors
from towers.types import RunError, TowersError


@dataclass
class Miner:
    """Finds the videos that the towers rank first for a step's users: a `towers.features.Hardest`.

    A user's vector is that of now, before the window's last target; the videos' are as old as the
    last call with `afresh`. Nothing else is kept, and every epoch begins with such a call: a resumed
    run finds what an unbroken one finds.

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
    _taken: tuple[Float32[np.ndarray, "rows d"], Searcher] | None = field(default=None, init=False, repr=False)

    def __call__(self, step: Step, askers: int, each: int, afresh: bool) -> Int64[np.ndarray, "a each"]:
        """Return rows for some of the step's windows, evenly spread over them; see `towers.features.Hardest`.

        Raises:
            RunError: The towers' vectors are not finite.
        """
        count = len(step.users)
        asking = np.arange(min(askers, count)) * count // min(askers, count)
        users = step.users[asking]
        try:
            if afresh or self._taken is None:
                self._taken = self._take()
            vectors, searcher = self._taken
            requests = Requests.without_times(step.history[asking])
            queries = query_vectors(self.towers, vectors, requests, self.users.take(users))
        except TowersError as error:
            raise RunError(f"no hard candidates can be found: {error}; lower optim.learning_rate") from error
        known = [self.positives.of(user).astype(np.int64) for user in users]
        return searcher.search(queries, each, exclude=known).ids

    def _take(self) -> tuple[Float32[np.ndarray, "rows d"], Searcher]:
        """Return the videos' vectors as the towers are now, and what searches them."""
        vectors = video_vectors(self.towers, self.videos)
        return vectors, Exact().build(vectors[self.eligible], self.eligible, self.towers.geometry)
