"""The proof that towers as trained, as saved and as indexed give the same answers."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64

from towers.data import TIME_UNKNOWN, Positives
from towers.features import Batch, FeatureTable, Requests
from towers.index import Searcher
from towers.models import TwoTower, UserTower, query_vectors, vectors_of_new, video_vectors
from towers.types import BundleError, Hits

TOLERANCE = 1e-5
"""Largest difference that is allowed between two ways to the same number, relative to numbers above 1."""
_USERS, _VIDEOS, _K = 64, 256, 20
_LATER_MS = 10_000_000
"""Between what the users of a sample watched last and the moments at which they ask; for each user another hour."""


@dataclass(frozen=True)
class Sample:
    """Users and videos whose answers are stored in the bundle and asked for again when it is opened.

    Attributes:
        users: User rows, [s].
        videos: Video rows, rising, those in the users' histories among them, [v].
        queries: The users' vectors, [s, d] or [s, interests, d].
        hits: The users' best videos, unfiltered; ids are video rows, [s, k].
    """

    users: Int64[np.ndarray, " s"]
    videos: Int64[np.ndarray, " v"]
    queries: Float32[np.ndarray, "s *i d"]
    hits: Hits

    def save(self, folder: Path) -> None:
        """Write the sample into a new folder."""
        folder.mkdir()
        parts = {"users": self.users, "videos": self.videos, "queries": self.queries}
        for name, array in {**parts, "hit_rows": self.hits.ids, "hit_scores": self.hits.scores}.items():
            np.save(folder / f"{name}.npy", array)

    @classmethod
    def load(cls, folder: Path) -> "Sample":
        """Read what save wrote."""
        users, videos, queries, rows, scores = (
            np.load(folder / f"{name}.npy") for name in ("users", "videos", "queries", "hit_rows", "hit_scores")
        )
        return cls(users, videos, queries, Hits(rows, scores))


@dataclass(frozen=True)
class Material:
    """Everything from which a bundle answers.

    Attributes:
        towers: The model.
        vectors: Of all video rows, [rows, d].
        positives: Histories of all user rows.
        users: Features of all user rows.
        index: The search over the vectors.
    """

    towers: TwoTower
    vectors: Float32[np.ndarray, "rows d"]
    positives: Positives
    users: FeatureTable
    index: Searcher

    def requests(self, users: Int64[np.ndarray, " q"]) -> Requests:
        """Return the users' newest events, as many as the towers read, asked at an unknown moment."""
        return requests_of(self.towers, self.positives, users)

    def queries(self, users: Int64[np.ndarray, " q"]) -> Float32[np.ndarray, "q *i d"]:
        """Return the users' vectors as the offline evaluation has them, at an unknown moment."""
        return query_vectors(self.towers, self.vectors, self.requests(users), self.users.take(users))

    @cached_property
    def user_tower(self) -> UserTower:
        """The user tower as requests run it."""
        return UserTower(self.towers, self.vectors, self.users)


def requests_of(towers: TwoTower, known: Positives, users: Int64[np.ndarray, " q"]) -> Requests:
    """Return users' newest positives, as many as the towers read, asked at an unknown moment."""
    return Requests.of(known.offsets, known.video_row, known.time_ms, users, towers.window)


def draw_sample(material: Material) -> Sample:
    """Return a sample: users without a history, with the longest, and at random between; always the same."""
    random = np.random.default_rng(0)
    by_length = np.argsort(material.positives.counts()[1:], kind="stable") + 1
    between = random.choice(by_length, min(_USERS, len(by_length)), replace=False)
    users = np.unique(np.concatenate([[1], by_length[:8], by_length[-8:], between]))
    others = random.choice(np.arange(1, len(material.vectors)), min(_VIDEOS, len(material.vectors) - 1), replace=False)
    videos = np.unique(np.concatenate([others, material.requests(users).history.ravel()]))
    queries = material.queries(users)
    return Sample(users, videos[videos > 0], queries, material.index.search(queries, _K))


def prove(sample: Sample, trained: Material, videos: FeatureTable, saved: TwoTower) -> dict[str, float]:
    """Compare the towers in training form, as evaluated, as reloaded and as served, and the index with inner products.

    Args:
        sample: Whom and what to compare for.
        trained: The towers as trained, and what was made from them.
        videos: Features of all video rows.
        saved: The towers as they were read back from the bundle.

    Returns:
        The largest difference of each comparison.

    Raises:
        BundleError: A difference beyond the tolerance.
    """
    queries, vectors = training_form(sample, trained, videos)
    reread = video_vectors(saved, videos.take(np.arange(len(videos))))
    again = query_vectors(saved, reread, trained.requests(sample.users), trained.users.take(sample.users))
    served = replace(trained, towers=saved, vectors=reread)
    figures = {
        "training form of user vectors": _difference(queries, sample.queries),
        "training form of video vectors": _difference(vectors, trained.vectors[sample.videos]),
        "reloaded user vectors": _difference(again, sample.queries),
        "reloaded video vectors": _difference(reread, trained.vectors),
        "served user vectors": _served_difference(sample, served),
        "index scores": _difference(sample.hits.scores, inner_products(sample.queries, trained.vectors, sample.hits)),
    }
    return checked(figures, "at publishing")


def prove_again(sample: Sample, opened: Material, videos: FeatureTable) -> dict[str, float]:
    """Ask an opened bundle for the sample again.

    Args:
        sample: Whom and what to ask for.
        opened: What answers.
        videos: Features of the sample's videos, with their rows, [v].

    Raises:
        BundleError: An answer differs from the stored one beyond the tolerance.
    """
    queries = opened.queries(sample.users)
    hits = opened.index.search(sample.queries, sample.hits.ids.shape[1])
    figures = {
        "user vectors": _difference(queries, sample.queries),
        "served user vectors": _served_difference(sample, opened),
        "video vectors": _difference(vectors_of_new(opened.towers, videos), opened.vectors[sample.videos]),
        "index scores": _difference(hits.scores, sample.hits.scores),
        "inner products": _difference(hits.scores, inner_products(sample.queries, opened.vectors, hits)),
    }
    return checked(figures, "at opening")


def _served_difference(sample: Sample, material: Material) -> float:
    """Return how far requests' vectors are from the sample's and, asked for at a known moment, from torch's."""
    requests = material.requests(sample.users)
    asked_ms = np.maximum(requests.history_ms.max(axis=1, initial=0), 0) + _LATER_MS * (1 + np.arange(len(requests)))
    then = replace(requests, asked_ms=asked_ms)
    evaluated = query_vectors(material.towers, material.vectors, then, material.users.take(sample.users))
    return max(
        _difference(material.user_tower.queries(requests, sample.users), sample.queries),
        _difference(material.user_tower.queries(then, sample.users), evaluated),
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


def training_form(
    sample: Sample, material: Material, videos: FeatureTable
) -> tuple[Float32[np.ndarray, "s *i d"], Float32[np.ndarray, "v d"]]:
    """Return user and video vectors by the forward pass of training: all positions of a window, the last one taken."""
    requests = material.requests(sample.users)
    history = requests.history
    counts = (history > 0).sum(axis=1)
    columns = np.searchsorted(sample.videos, history)
    before = np.concatenate([np.full((len(history), 1), -1), np.where(history > 0, columns, -1)], axis=1)
    places = np.broadcast_to(np.arange(before.shape[1]), before.shape)
    time_ms = np.concatenate([requests.history_ms, np.full((len(history), 1), TIME_UNKNOWN)], axis=1)
    nothing = torch.zeros(before.shape, dtype=torch.int64)
    batch = Batch(
        rows=torch.from_numpy(sample.videos),
        videos=videos.tensors(sample.videos),
        log_q=torch.zeros(len(sample.videos)),
        history=torch.from_numpy(before),
        state=torch.from_numpy(np.minimum(places, counts[:, None])),
        target=nothing,
        weight=torch.ones(before.shape),
        users=material.users.tensors(sample.users),
        time_ms=torch.from_numpy(time_ms),
        known=torch.zeros((len(history), len(sample.videos)), dtype=torch.bool),
        positions=before.size,
    )
    was_training = material.towers.training
    material.towers.eval()
    with torch.inference_mode():
        states, vectors = material.towers.queries(batch)
    material.towers.train(was_training)
    return states[:, -1].numpy(), vectors.numpy()


def inner_products(
    queries: Float32[np.ndarray, "q *i d"], vectors: Float32[np.ndarray, "rows d"], hits: Hits
) -> Float[np.ndarray, "q k"]:
    """Return the inner products of queries and their hits, the best of several, in float64; -inf in empty slots."""
    asked = queries.reshape(len(queries), -1, queries.shape[-1]).astype(np.float64)
    scores = np.einsum("qid,qkd->qki", asked, vectors[hits.ids].astype(np.float64)).max(axis=2)
    return np.where(hits.ids >= 0, scores, -np.inf)


def _difference(some: np.ndarray, others: np.ndarray) -> float:
    """Return the largest difference, relative to numbers above 1; equal infinities do not differ."""
    if some.shape != others.shape:
        return float("inf")
    apart = np.abs(np.subtract(some, others, where=some != others, out=np.zeros(some.shape)))
    return float((apart / np.maximum(1, np.abs(np.where(np.isfinite(others), others, 1)))).max(initial=0.0))
