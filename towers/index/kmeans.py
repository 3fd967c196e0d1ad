"""Means of what is near each other, and which of them is the nearest."""

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64

from towers.compiled import compiled

_ROUNDS = 10
_PARTS = 16
"""Rows that the products of a point stand in: the highest of each column first, then within one column."""
_ROOM = 4_000_000
"""Products that are held at a time, 16 MB: so that they stay in a cache, and threads meet seldom."""


def k_means(points: Float32[np.ndarray, "n d"], count: int, spherical: bool) -> Float32[np.ndarray, "m d"]:
    """Return the means that points gather about, [count, d]; the same ones every time.

    Ten rounds from points drawn at random; a mean that nothing is near to goes to a point that is far from its own.
    On as many threads as torch uses.

    Args:
        points: At least as many as means, [n, d].
        count: How many means.
        spherical: Whether the points are of length 1, and so shall be the means.

    Source:
        Lloyd 1982, Least squares quantization in PCM; means of length 1: Dhillon and Modha 2001, Concept
        decompositions for large sparse text data using clustering.

    Example:
        >>> k_means(np.array([[0, 0], [0, 2], [8, 0], [8, 2]], np.float32), 2, spherical=False).tolist()
        [[0.0, 1.0], [8.0, 1.0]]
    """
    means = points[np.sort(np.random.default_rng(0).permutation(len(points))[:count])]
    squares = np.einsum("nd,nd->n", points, points)
    for _ in range(_ROUNDS):
        nearest, scores = highest(points, means, _half_squares(means))
        sizes = np.bincount(nearest, minlength=count)
        means = (sums_of(points, nearest, count) / np.maximum(sizes, 1)[:, None]).astype(np.float32)
        alone = np.flatnonzero(sizes == 0)
        far = np.argsort(2 * scores - squares, kind="stable")[: len(alone)]
        means[alone] = points[far]
        if spherical:
            lengths = np.linalg.norm(means, axis=1, keepdims=True)
            means /= np.where(lengths > 0, lengths, 1)
    return means


def nearest_of(points: Float32[np.ndarray, "n d"], means: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, " n"]:
    """Return for each point which mean is the nearest, of equally near ones the first."""
    return highest(points, means, _half_squares(means))[0]


def highest(
    points: Float32[np.ndarray, "n d"], directions: Float32[np.ndarray, "m d"], less: Float32[np.ndarray, " m"]
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Return for each point in which direction it lies furthest, each less a number; and how far, less that.

    Where the highest product is, is looked for among the heads of columns of products, and then within one column:
    torch's own search takes longer than the products.
    """
    count, dim = directions.shape
    width = -(-count // _PARTS)
    # Directions that fill up the last part are chosen by nobody.
    across = torch.zeros(dim, _PARTS * width)
    across[:, :count] = torch.tensor(directions.T)
    shift = torch.full((_PARTS * width,), -torch.inf)
    shift[:count] = -torch.tensor(less)
    at_once = max(1, _ROOM // (_PARTS * width))
    products = torch.empty(min(at_once, len(points)), _PARTS * width)
    places, scores = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    for start in range(0, len(points), at_once):
        part = torch.tensor(points[start : start + at_once])
        found = torch.addmm(shift, part, across, out=products[: len(part)]).view(len(part), _PARTS, width)
        heads, column = found.amax(1).max(1)
        row = found.gather(2, column[:, None, None].expand(-1, _PARTS, 1))[:, :, 0].argmax(1)
        places[start : start + len(part)] = (row * width + column).numpy()
        scores[start : start + len(part)] = heads.numpy()
    return places, scores


@compiled
def sums_of(
    points: Float32[np.ndarray, "n d"], assigned: Int64[np.ndarray, " n"], count: int
) -> Float64[np.ndarray, "m d"]:
    """Return the sum of the points that are assigned to each of so many, [count, d]; zero where none is."""
    sums = np.zeros((count, points.shape[1]))
    for row in range(assigned.size):
        for axis in range(points.shape[1]):
            sums[assigned[row], axis] += points[row, axis]
    return sums


def _half_squares(means: Float32[np.ndarray, "m d"]) -> Float32[np.ndarray, " m"]:
    return np.einsum("md,md->m", means, means) / 2
