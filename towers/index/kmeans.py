"""Means of what is near each other, and which of them is the nearest."""

from functools import partial

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.compiled import REORDERED, compiled
from towers.index.affine import affine
from towers.index.threads import share

_ROUNDS = 10
_COLUMNS = 256
"""Columns that a line of products is folded into."""
_ROWS = 24
"""Points at a time: a multiple of what the products take at once, so few that a core's own cache holds what comes."""


def k_means(points: Float32[np.ndarray, "n d"], count: int, spherical: bool) -> Float32[np.ndarray, "m d"]:
    """Return the means that points gather about, [count, d]; the same ones every time.

    Ten rounds from points drawn at random; a mean that nothing is near to goes to a point that is far from its own.

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
    """Return in which direction each point lies furthest, of equal ones the first, each less a number; and how far."""
    across, more = np.ascontiguousarray(directions.T), np.negative(less, dtype=np.float32)
    places, scores = np.empty(len(points), np.int64), np.empty(len(points), np.float32)
    points = np.ascontiguousarray(points)
    share(lambda part: _furthest(points[part], across, more, places[part], scores[part]), len(points), 4 * _ROWS)
    return places, scores


@partial(compiled, freedoms=REORDERED | {"nnan"})
def _furthest(
    points: Float32[np.ndarray, "n d"],
    across: Float32[np.ndarray, "d m"],
    more: Float32[np.ndarray, " m"],
    places: Int64[np.ndarray, " n"],
    scores: Float32[np.ndarray, " n"],
) -> None:
    """Write where the products of each point, and something more, are highest, and how high; of finite numbers.

    First the highest of each of so many columns, beside each other, and then within those that have it.
    """
    products, heads = np.empty((_ROWS, more.size), np.float32), np.empty(_COLUMNS, np.float32)
    for begin in range(0, len(points), _ROWS):
        rows = min(_ROWS, len(points) - begin)
        affine(points[begin : begin + rows], across, more, products[:rows])
        for row in range(rows):
            line, heads[:] = products[row], -np.inf
            for first in range(0, more.size, _COLUMNS):
                part = line[first : first + _COLUMNS]
                for column in range(part.size):
                    heads[column] = part[column] if part[column] > heads[column] else heads[column]
            score, best = heads.max(), more.size
            for column in range(_COLUMNS):
                place = column if heads[column] == score else best
                while place < best and line[place] < score:
                    place += _COLUMNS
                best = min(best, place)
            places[begin + row], scores[begin + row] = best, score


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
