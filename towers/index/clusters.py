"""Vectors divided into lists of what is near each other."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from towers.types import DataError, Geometry

_SMALLEST = 39
_SAMPLE = 64
_AT_ONCE = 65_536
_ALIGNED = 16


def number_of_lists(asked: int, n: int) -> int:
    """Return how many lists n vectors are divided into: as many as asked, or for 0 four times the root of n.

    Raises:
        DataError: More lists than vectors are asked for.

    Example:
        >>> number_of_lists(0, 1_000_000), number_of_lists(0, 390), number_of_lists(7, 100)
        (4000, 10, 7)
    """
    if 0 < n < asked:
        raise DataError(f"index.nlist is {asked}, but there are {n} vectors; ask for fewer lists")
    return asked or max(1, min(round(4 * n**0.5), n // _SMALLEST))


def clustered(
    vectors: Float32[np.ndarray, "n d"],
    lists: int,
    geometry: Geometry,
    weight: Float32[np.ndarray, "d d"] | None = None,
) -> Int64[np.ndarray, " n"]:
    """Return for each vector the list that it belongs to, [n]; the same ones every time.

    Args:
        vectors: One per video, [n, d].
        lists: How many lists.
        geometry: Of the model that made the vectors; dot has them lifted first, where no weight is given.
        weight: What a difference of vectors weighs, see weight_of, [d, d]; None forms lists by direction.
    """
    from towers.index.kmeans import k_means, nearest_of

    if not len(vectors):
        return np.zeros(0, np.int64)
    points = _points(vectors, geometry) if weight is None else _weighted(weight)
    some = np.sort(np.random.default_rng(0).permutation(len(vectors))[: _SAMPLE * lists])
    means = k_means(points(vectors[some]), lists, spherical=weight is None)
    parts = (vectors[start : start + _AT_ONCE] for start in range(0, len(vectors), _AT_ONCE))
    return np.concatenate([nearest_of(points(part), means) for part in parts])


def weight_of(queries: Float32[np.ndarray, "q *i d"]) -> Float32[np.ndarray, "d d"] | None:
    """Return what a difference of two vectors weighs, [d, d]: about the mean square of what it makes of a score.

    None where no query has a direction.

    A list tells a user about a video as well as the list's mean scores like the video; so lists should divide what
    users tell apart, not what is apart. Users of towers lie far to one side of the videos, and few of the axes matter
    to them. What is not known from few queries is thought to be alike in all directions, as d queries would have it.

    Source:
        Guo et al. 2016, Quantization based fast inner product search, section 3: codebooks by the Mahalanobis distance
        that the queries' second moment gives.

    Example:
        >>> weight_of(np.array([[1, 0], [1, 0]], np.float32)).tolist()
        [[1.5, 0.0], [0.0, 0.5]]
    """
    dim = queries.shape[-1]
    asked = queries.reshape(-1, dim).astype(np.float64)
    lengths = np.linalg.norm(asked, axis=1, keepdims=True)
    asked = asked[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    if not len(asked):
        return None
    return ((dim * asked.T @ asked + dim * np.eye(dim)) / (len(asked) + dim)).astype(np.float32)


def _weighted(weight: Float32[np.ndarray, "d d"]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes points of vectors whose distance is weighed."""
    values, axes = np.linalg.eigh(weight.astype(np.float64))
    root = ((axes * np.sqrt(np.maximum(values, 0))) @ axes.T).astype(np.float32)
    return lambda vectors: vectors @ root


def _points(vectors: Float32[np.ndarray, "n d"], geometry: Geometry) -> Callable[[np.ndarray], np.ndarray]:
    """Return what makes points of vectors that stand near each other where their directions do."""
    if geometry is Geometry.cosine:
        return np.ascontiguousarray
    return partial(lift, longest=longest_of(vectors))


def longest_of(vectors: Float32[np.ndarray, "n d"]) -> float:
    """Return the length of the longest vector, 0 where there is none."""
    parts = (vectors[start : start + _AT_ONCE].astype(np.float64) for start in range(0, len(vectors), _AT_ONCE))
    return max((float(np.linalg.norm(part, axis=1).max()) for part in parts), default=0.0)


def lift(vectors: Float32[np.ndarray, "n d"], longest: float | None = None) -> Float32[np.ndarray, "n e"]:
    """Return vectors of length 1 whose order of inner products with any padded query is the same.

    Lists are formed by direction, which loses long vectors of odd directions when lengths
    differ. One more dimension holds what each vector lacks to the longest one; queries have 0
    there. Padded with zeros to a multiple of 16, the width of the fastest code.

    Args:
        vectors: Of different lengths, [n, d].
        longest: The greatest length of these and of all others that are to lie beside them; None is that of these.

    Source:
        Bachrach et al. 2014, Speeding up the Xbox recommender system, the reduction of
        inner product to nearest neighbour.

    Example:
        >>> lift(np.array([[3, 0], [0, 4]], np.float32))[:, :3].tolist()
        [[0.75, 0.0, 0.661...], [0.0, 1.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    known = float(lengths.max(initial=0.0)) if longest is None else longest
    longest = max(known, float(np.finfo(np.float32).tiny))
    width = -(-(vectors.shape[1] + 1) // _ALIGNED) * _ALIGNED
    lifted = np.zeros((len(vectors), width), np.float32)
    lifted[:, : vectors.shape[1]] = vectors / longest
    lifted[:, vectors.shape[1]] = np.sqrt(np.maximum(1 - (lengths / longest) ** 2, 0))
    return lifted


def padded(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Return vectors with zeros behind them, up to the width of FAISS's fastest code."""
    width = -(-vectors.shape[1] // _ALIGNED) * _ALIGNED
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
