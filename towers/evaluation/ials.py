"""Implicit alternating least squares: vectors whose product is 1 where a user watched a video, and near 0 elsewhere."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from towers.evaluation.watched import Watched

BLOCK = 4_000_000
"""Numbers gathered at once: 16 MB."""
SPREAD = 0.1
"""Length that the vectors begin with."""


@dataclass(frozen=True)
class Squares:
    """What is made small: squared errors over the pairs, squared scores over everything, squared lengths.

    `Σ_watched (1 - wᵤ·hᵢ)² + unobserved Σ_all (wᵤ·hᵢ)² + penalty Σ (nᵤ + unobserved m) |wᵤ|²`, and the last alike
    for videos; nᵤ is how many videos user u watched, m how many there are.

    Attributes:
        unobserved: What a pair weighs that did not meet, above 0; one that did weighs 1 more.
        penalty: On lengths, above 0.
    """

    unobserved: float
    penalty: float

    def solved(self, watched: Watched, others: Float32[Tensor, "m d"]) -> Float32[Tensor, "rows d"]:
        """Return the best vector of each row, given those of the other side; zero for a row that met nobody.

        Rows that met equally many are solved together, a block at a time.

        Args:
            watched: Whom each row met, [rows].
            others: Vectors of the other side.
        """
        lengths = np.diff(watched.offsets)
        vectors = torch.zeros(len(lengths), others.shape[1])
        of_all = self.unobserved * (others.T @ others)
        order = np.argsort(lengths, kind="stable")
        counts, begins = np.unique(lengths[order], return_index=True)
        for count, rows in zip(counts.tolist(), np.split(order, begins[1:]), strict=True):
            if not count:
                continue
            system = of_all + self.penalty * (count + self.unobserved * len(others)) * torch.eye(len(of_all))
            at_once = max(1, BLOCK // (count * others.shape[1]))
            for start in range(0, len(rows), at_once):
                part = rows[start : start + at_once]
                met = watched.column[watched.offsets[part][:, None] + np.arange(count)]
                vectors[torch.from_numpy(part)] = _fitted(system, others[torch.from_numpy(met)])
        return vectors


def _fitted(system: Float32[Tensor, "d d"], met: Float32[Tensor, "rows n d"]) -> Float32[Tensor, "rows d"]:
    """Return `(S + MᵀM)⁻¹ Mᵀ1` of each row: as it stands, or for few by the n × n system of the same solution.

    Source:
        Golub and Van Loan 2013, Matrix Computations, §2.1.4: the Sherman-Morrison-Woodbury formula.
    """
    few = met.shape[1] < met.shape[2]
    reach = met @ torch.linalg.inv(system) if few else met
    inner = reach @ met.mT + torch.eye(met.shape[1]) if few else met.mT @ met + system
    right = torch.ones(*met.shape[:2], 1)
    if not few:
        return torch.cholesky_solve(met.mT @ right, torch.linalg.cholesky(inner)).squeeze(2)
    return (reach.mT @ torch.cholesky_solve(right, torch.linalg.cholesky(inner))).squeeze(2)


def video_factors(
    watched: Watched, videos: int, squares: Squares, factors: int, sweeps: int
) -> Float32[Tensor, "videos factors"]:
    """Return vectors of the videos, after sweeps over users and videos in turn.

    Args:
        watched: Videos that each user watched; a user of none counts for nothing, not even in the penalties.
        videos: How many there are.
        squares: What is made small.
        factors: Length of the vectors.
        sweeps: How often all users and all videos are solved for.

    Source:
        Hu, Koren and Volinsky 2008, Collaborative filtering for implicit feedback datasets, eq. 4 and 5; with the
        penalty by frequency of Rendle et al. 2022, Revisiting the performance of iALS, eq. 4 with ν = 1.
    """
    draws = torch.Generator().manual_seed(0)
    vectors = torch.randn(videos, factors, generator=draws) * SPREAD * factors**-0.5
    counts = np.diff(watched.offsets)
    watched = Watched(np.concatenate([[0], np.cumsum(counts[counts > 0])]), watched.column)
    by_video = watched.turned(videos)
    for _ in range(sweeps):
        vectors = squares.solved(by_video, squares.solved(watched, vectors))
    return vectors
