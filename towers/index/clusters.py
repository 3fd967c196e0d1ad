"""Vectors divided into lists of what is near each other."""

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.openmp import faiss
from towers.types import DataError, Geometry

_SMALLEST = 39
_SAMPLE, _ROUNDS = 64, 10
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


def clustered(vectors: Float32[np.ndarray, "n d"], lists: int, geometry: Geometry) -> Int64[np.ndarray, " n"]:
    """Return for each vector the list that it belongs to, [n]; the same ones every time.

    Args:
        vectors: One per video, [n, d].
        lists: How many lists.
        geometry: Of the model that made the vectors; dot has them lifted first.
    """
    if not len(vectors):
        return np.zeros(0, np.int64)
    points = vectors if geometry is Geometry.cosine else lift(vectors)
    means = faiss.Kmeans(
        points.shape[1],
        lists,
        niter=_ROUNDS,
        spherical=True,
        max_points_per_centroid=_SAMPLE,
        min_points_per_centroid=1,
    )
    means.train(points)
    assigned = np.empty(len(points), np.int64)
    for start in range(0, len(points), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        assigned[part] = means.index.search(points[part], 1)[1][:, 0]
    return assigned


def lift(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Return vectors of length 1 whose order of inner products with any padded query is the same.

    Lists are formed by direction, which loses long vectors of odd directions when lengths
    differ. One more dimension holds what each vector lacks to the longest one; queries have 0
    there. Padded with zeros to a multiple of 16, the width of the fastest code.

    Source:
        Bachrach et al. 2014, Speeding up the Xbox recommender system, the reduction of
        inner product to nearest neighbour.

    Example:
        >>> lift(np.array([[3, 0], [0, 4]], np.float32))[:, :3].tolist()
        [[0.75, 0.0, 0.661...], [0.0, 1.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    longest = max(float(lengths.max(initial=0.0)), np.finfo(np.float32).tiny)
    width = -(-(vectors.shape[1] + 1) // _ALIGNED) * _ALIGNED
    lifted = np.zeros((len(vectors), width), np.float32)
    lifted[:, : vectors.shape[1]] = vectors / longest
    lifted[:, vectors.shape[1]] = np.sqrt(np.maximum(1 - (lengths / longest) ** 2, 0))
    return lifted


def padded(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Return vectors with zeros behind them, up to the width of FAISS's fastest code."""
    width = -(-vectors.shape[1] // _ALIGNED) * _ALIGNED
    return np.pad(vectors, ((0, 0), (0, width - vectors.shape[1])))
