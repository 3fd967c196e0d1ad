"""Makes vectors like those of towers, for measuring searches: many clusters of uneven size, users between them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

K = 100
_CLUSTERS, _GROUPS = 2000, 60
_AT_ONCE = 100


@dataclass(frozen=True)
class World:
    """Vectors of videos, vectors of users, and the true best of each user.

    Attributes:
        videos: Of length 1, [n, d].
        users: Of length 1, from another distribution than the videos, [q, d].
        best: Each user's best K rows of videos, best first, [q, K].
    """

    videos: Float32[np.ndarray, "n d"]
    users: Float32[np.ndarray, "q d"]
    best: Int64[np.ndarray, "q k"]

    def save(self, folder: Path) -> None:
        """Write the arrays where peers can read them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("videos", "users", "best"):
            np.save(folder / f"{name}.npy", getattr(self, name))


def world(n: int, dim: int, users: int = 1000, seed: int = 0) -> World:
    """Return a made-up world.

    Clusters stand in groups and have log-normal sizes; a video is its cluster's center and noise. A user is between
    two clusters, nearer to the first, with noise of their own.
    """
    draw = np.random.default_rng(seed)
    groups = draw.standard_normal((_GROUPS, dim))
    centers = 0.8 * (draw.standard_normal((_CLUSTERS, dim)) + groups[draw.integers(0, _GROUPS, _CLUSTERS)])
    sizes = draw.lognormal(0, 1.5, _CLUSTERS)
    of_video = draw.choice(_CLUSTERS, n, p=sizes / sizes.sum())
    videos = _unit(centers.astype(np.float32)[of_video] + 0.7 * draw.standard_normal((n, dim), np.float32))
    liked = sizes**0.7 / (sizes**0.7).sum()
    first, second = (centers[draw.choice(_CLUSTERS, users, p=liked)] for _ in range(2))
    asking = _unit((first + 0.5 * second + 0.6 * draw.standard_normal((users, dim))).astype(np.float32))
    best = np.empty((users, K), np.int64)
    for start in range(0, users, _AT_ONCE):
        scores = asking[start : start + _AT_ONCE] @ videos.T
        near = np.argpartition(-scores, K, axis=1)[:, :K]
        order = np.argsort(-np.take_along_axis(scores, near, axis=1), axis=1)
        best[start : start + _AT_ONCE] = np.take_along_axis(near, order, axis=1)
    return World(videos, asking, best)


def _unit(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    return np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True))
