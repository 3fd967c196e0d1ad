"""Why a video would be shown: the watched videos that are most like it."""

import numpy as np
from jaxtyping import Float32, Int64


def most_alike(
    queries: Float32[np.ndarray, "k d"], watched: Float32[np.ndarray, "h d"], count: int
) -> tuple[Int64[np.ndarray, "k c"], Float32[np.ndarray, "k c"]]:
    """Return for each query the places of the watched videos with the highest inner product, best first, and those.

    Args:
        queries: Of the candidates, as :func:`towers.models.TowerArrays.likeness_queries` gives them, [k, d].
        watched: Vectors of the watched videos, [h, d].
        count: How many at most; equal ones in the order of watched.

    Example:
        >>> places, likeness = most_alike(np.float32([[1, 0]]), np.float32([[0, 1], [3, 0], [2, 2]]), 2)
        >>> places.tolist(), likeness.tolist()
        ([[1, 2]], [[3.0, 2.0]])
    """
    likeness = queries @ watched.T
    places = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(likeness, places, axis=1)
