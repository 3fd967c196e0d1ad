"""Where videos begin: near those that the same users watched."""

import warnings

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
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
    place = np.zeros(rows, np.int32)
    place[watched] = np.arange(len(watched), dtype=np.int32)
    matrix, transposed = _both_ways(positives.offsets, place[positives.video_row], len(watched))
    size = (int((positives.counts() > 0).sum()), len(watched))
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


def _both_ways(
    offsets: Int64[np.ndarray, " users_and_one"], video: Int32[np.ndarray, " n"], videos: int
) -> tuple[Tensor, Tensor]:
    """Return the sparse matrix of events over the roots of both counts, [users, videos], and its transpose.

    Places are int32 while they can be, and nothing is kept beside: 50 million events are 0.4 GB each way.
    """
    by_user, by_video = np.diff(offsets), np.bincount(video, minlength=videos)
    value = np.repeat(by_user.astype(np.float32), by_user)
    value *= by_video.astype(np.float32)[video]
    np.divide(1, np.sqrt(value, out=value), out=value)
    order = np.argsort(video, kind="stable")
    user = np.repeat(np.arange(len(by_user), dtype=np.int32), by_user)[order]
    begin = np.concatenate([[0], np.cumsum(by_video)])
    size = (len(by_user), videos)
    return _sparse(offsets, video, value, size), _sparse(begin, user, value[order], size[::-1])


def _sparse(begin: np.ndarray, column: np.ndarray, value: np.ndarray, size: tuple[int, ...]) -> Tensor:
    kind = np.int32 if len(column) <= np.iinfo(np.int32).max else np.int64
    begins, columns = (torch.from_numpy(each.astype(kind, copy=False)) for each in (begin, column))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
        return torch.sparse_csr_tensor(begins, columns, torch.from_numpy(value), size=size)
