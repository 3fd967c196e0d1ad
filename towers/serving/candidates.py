"""What an answer says: videos, and how they were found."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Float32, Int64


class Way(StrEnum):
    """How an answer was found."""

    history = "history"
    """From what the user has watched."""
    features = "features"
    """The user is known but has watched nothing: from features, or as a new user by towers that read none."""
    new_user = "new_user"
    """The user is not known and no history was given: what anybody new is shown."""
    popular = "popular"
    """What most have watched of late: the towers gave no answer."""
    video = "video"
    """From another video."""


@dataclass(frozen=True)
class Candidates:
    """Videos, best first.

    Attributes:
        ids: What the app calls them, as many as were found: int64 [n], or a list of strings.
        scores: Inner products with the query, non-increasing, [n].
        way: How they were found.
        short_because: Why there are fewer than asked for; empty where there are not.
        dropped: How many videos of the given history the bundle does not know.
        bundle_version: Which version answered.
    """

    ids: Int64[np.ndarray, " n"] | list[str]
    scores: Float32[np.ndarray, " n"]
    way: Way
    short_because: str
    dropped: int
    bundle_version: str

    def __len__(self) -> int:
        return len(self.ids)


def path_of(way: Way) -> str:
    """Return what an answer calls the way it was found: personal, new_user, popular or similar."""
    names = {Way.history: "personal", Way.popular: "popular", Way.video: "similar"}
    return names.get(way, "new_user")
