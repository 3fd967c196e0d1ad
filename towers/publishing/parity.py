"""The proof, asked again whenever a bundle is opened, that it answers as when it was published. Needs no torch."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int64

from towers.data import Positives
from towers.features import FeatureTable, Requests
from towers.index import Searcher
from towers.models import TowerArrays, UserTower, VideoTower, has_form
from towers.types import BundleError, Hits

if TYPE_CHECKING:
    from towers.models import TorchUserTower, TwoTower

TOLERANCE = 1e-5
"""Largest difference that is allowed between two ways to the same number, relative to numbers above 1."""
_LATER_MS = 10_000_000
"""Between what the users of a sample watched last and the moments at which they ask; for each user another hour."""


@dataclass(frozen=True)
class Sample:
    """Users and videos whose answers are stored in the bundle and asked for again when it is opened.

    Attributes:
        users: User rows, [s].
        videos: Video rows, rising, those in the users' histories among them, [v].
        queries: The users' vectors, asked for at an unknown moment, [s, d] or [s, interests, d].
        later: The same, each asked for some hours after what they watched last.
        hits: The users' best videos, unfiltered; ids are video rows, [s, k].
    """

    users: Int64[np.ndarray, " s"]
    videos: Int64[np.ndarray, " v"]
    queries: Float32[np.ndarray, "s *i d"]
    later: Float32[np.ndarray, "s *i d"]
    hits: Hits

    def save(self, folder: Path) -> None:
        """Write the sample into a new folder."""
        folder.mkdir()
        parts = {"users": self.users, "videos": self.videos, "queries": self.queries, "later": self.later}
        for name, array in {**parts, "hit_rows": self.hits.ids, "hit_scores": self.hits.scores}.items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> "Sample":
        """Read what save wrote."""
        names = ("users", "videos", "queries", "later", "hit_rows", "hit_scores")
        users, videos, queries, later, rows, scores = (np.load(folder / f"{name}.npy") for name in names)
        return cls(users, videos, queries, later, Hits(rows, scores))


@dataclass(frozen=True)
class Material:
    """Everything from which a bundle answers.

    Attributes:
        towers: The model.
        vectors: Of all video rows, [rows, d].
        positives: Histories of all user rows.
        users: Features of all user rows.
        index: The search over the vectors.
        in_torch: The model in torch, where its history encoder has no form that needs none.
    """

    towers: TowerArrays
    vectors: Float32[np.ndarray, "rows d"]
    positives: Positives
    users: FeatureTable
    index: Searcher
    in_torch: "TwoTower | None" = None

    def requests(self, users: Int64[np.ndarray, " q"]) -> Requests:
        """Return the users' newest events, as many as the towers read, asked at an unknown moment."""
        return requests_of(self.towers.window, self.positives, users)

    def requests_later(self, users: Int64[np.ndarray, " q"]) -> Requests:
        """Return the same, each asked some hours after what the user watched last."""
        requests = self.requests(users)
        last_ms = np.maximum(requests.history_ms.max(axis=1, initial=0), 0)
        return replace(requests, asked_ms=last_ms + _LATER_MS * (1 + np.arange(len(requests))))

    @cached_property
    def user_tower(self) -> "UserTower | TorchUserTower":
        """The user tower as requests run it."""
        if has_form(self.towers):
            return UserTower(self.towers, self.vectors, self.users)
        from towers.models import TorchUserTower

        if self.in_torch is None:
            raise BundleError(f"towers with {self.towers.kind!r} answer through torch alone, which was not loaded")
        return TorchUserTower(self.in_torch, self.vectors, self.users)

    @cached_property
    def video_tower(self) -> VideoTower:
        """The video tower as requests run it."""
        return VideoTower(self.towers)


def requests_of(window: int, known: Positives, users: Int64[np.ndarray, " q"]) -> Requests:
    """Return users' newest positives, as many as the window holds, asked at an unknown moment."""
    return Requests.of(known.offsets, known.video_row, known.time_ms, users, window)


def prove_again(sample: Sample, opened: Material, videos: FeatureTable) -> dict[str, float]:
    """Ask an opened bundle for the sample again.

    Args:
        sample: Whom and what to ask for.
        opened: What answers.
        videos: Features of the sample's videos, with their rows, [v].

    Raises:
        BundleError: An answer differs from the stored one beyond the tolerance.
    """
    hits = hits_of(opened.index, sample.queries, sample.hits.ids.shape[1])
    figures = {
        "user vectors": served_difference(sample, opened),
        "video vectors": difference(opened.video_tower.vectors(videos), opened.vectors[sample.videos]),
        "index scores": difference(hits.scores, sample.hits.scores),
        "inner products": difference(hits.scores, inner_products(sample.queries, opened.vectors, hits)),
    }
    return checked(figures, "at opening")


def hits_of(index: Searcher, queries: Float32[np.ndarray, "q *i d"], k: int) -> Hits:
    """Return the best k of each query, asked one by one: what several find together may hang on how many there are."""
    hits = [index.search(queries[row : row + 1], k) for row in range(len(queries))]
    return Hits(np.concatenate([each.ids for each in hits]), np.concatenate([each.scores for each in hits]))


def served_difference(sample: Sample, material: Material) -> float:
    """Return how far requests' vectors are from the sample's, asked for at an unknown moment and at a known one."""
    tower, users = material.user_tower, sample.users
    return max(
        difference(tower.queries(material.requests(users), users), sample.queries),
        difference(tower.queries(material.requests_later(users), users), sample.later),
    )


def checked(figures: dict[str, float], when: str) -> dict[str, float]:
    """Return the figures when all are within the tolerance.

    Raises:
        BundleError: One is not; it is named with its value.
    """
    for name, value in figures.items():
        if not value <= TOLERANCE:
            raise BundleError(
                f"parity proof {when} failed: {name} differ by {value:.3g}, at most {TOLERANCE:g} is allowed; "
                "the towers do not answer as they were trained to: do not serve this bundle, publish the run again"
            )
    return figures


def inner_products(
    queries: Float32[np.ndarray, "q *i d"], vectors: Float32[np.ndarray, "rows d"], hits: Hits
) -> Float[np.ndarray, "q k"]:
    """Return the inner products of queries and their hits, the best of several, in float64; -inf in empty slots."""
    asked = queries.reshape(len(queries), -1, queries.shape[-1]).astype(np.float64)
    scores = np.einsum("qid,qkd->qki", asked, vectors[hits.ids].astype(np.float64)).max(axis=2)
    return np.where(hits.ids >= 0, scores, -np.inf)


def difference(some: np.ndarray, others: np.ndarray) -> float:
    """Return the largest difference, relative to numbers above 1; equal infinities do not differ."""
    if some.shape != others.shape:
        return float("inf")
    apart = np.abs(np.subtract(some, others, where=some != others, out=np.zeros(some.shape)))
    return float((apart / np.maximum(1, np.abs(np.where(np.isfinite(others), others, 1)))).max(initial=0.0))
