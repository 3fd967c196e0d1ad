"""Where videos begin: near those that the same users watched."""

import warnings

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from towers.data import Positives

ROUNDS = 6
"""Multiplications by the matrix and its transpose; each sharpens the spectrum."""
SPARE = 16
"""Directions beyond those asked for, so that the last of these come out right."""

_LEAST = 1e-5
"""Squares of singular values, as shares of the largest, from which on there is a direction and not a rounding error."""


def spectral_vectors(positives: Positives, rows: int, dim: int, seed: int) -> Float32[np.ndarray, "rows dim"]:
    """Return a vector of length 1 for every video that somebody watched, [rows, dim]; the others' are zero.

    The matrix of users and videos, each event divided by the roots of its user's and its video's
    counts, is cut to its leading right singular vectors: videos watched by the same users lie
    together. It costs seconds, and a training that begins here is where one that begins at random
    gets after several epochs.

    Args:
        positives: The training events.
        rows: Video rows of the dataset.
        dim: Size of a vector; coordinates beyond the rank of the matrix are zero.
        seed: Of the random projection.

    Source:
        Halko, Martinsson and Tropp 2011, Finding Structure with Randomness, algorithms 4.4 and 5.1; the
        matrix as in Shen et al. 2021, How Powerful is Graph Convolution for Recommendation?, section 4.

    Example:
        >>> offsets, videos = np.array([0, 0, 0, 2, 4, 6]), np.array([2, 3, 2, 3, 4, 5], np.int32)
        >>> events = Positives(offsets, videos, np.zeros(6, np.int64), np.ones(6, np.float32))
        >>> vectors = spectral_vectors(events, rows=6, dim=2, seed=0)
        >>> together, apart = vectors[2] @ vectors[3], vectors[2] @ vectors[4]
        >>> bool(together > 0.99), bool(abs(apart) < 0.01)
        (True, True)
    """
    watched = np.flatnonzero(np.bincount(positives.video_row, minlength=rows))
    user_of, user = np.unique(positives.user_row, return_inverse=True)
    video = np.searchsorted(watched, positives.video_row)
    size = (len(user_of), len(watched))
    matrix = _normalised(user, video, size)
    transposed = _normalised(video, user, size[::-1])
    rank = min(dim, *size)
    draw = torch.Generator().manual_seed(seed)
    basis = torch.randn(size[1], min(rank + SPARE, *size), generator=draw)
    for _ in range(ROUNDS):
        basis = torch.linalg.qr(transposed @ (matrix @ basis)).Q
    image = matrix @ basis
    weights, turned = torch.linalg.eigh(image.T @ image)
    there = weights > _LEAST * weights[-1]
    leading = torch.nn.functional.normalize((basis @ (turned * there)).flip(1)[:, :rank], dim=1)
    out = np.zeros((rows, dim), np.float32)
    out[watched, :rank] = leading.numpy()
    return out


def _normalised(row: np.ndarray, column: np.ndarray, size: tuple[int, ...]) -> Tensor:
    """Return the sparse matrix of events over the roots of both counts, [row, column]."""
    by_row, by_column = np.bincount(row, minlength=size[0]), np.bincount(column, minlength=size[1])
    order = np.argsort(row, kind="stable")
    value = 1 / np.sqrt(by_row[row[order]].astype(np.float32) * by_column[column[order]].astype(np.float32))
    begin = np.concatenate([[0], np.cumsum(by_row)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        parts = (torch.from_numpy(begin), torch.from_numpy(column[order]), torch.from_numpy(value))
        return torch.sparse_csr_tensor(*parts, size=size)
