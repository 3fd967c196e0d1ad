"""Many-numbered vectors on a plane, such that what is alike lies together."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Float64, Int64

NEIGHBOURS = 12
_STEPS, _STRANGERS, _FARTHEST = 300, 6, 4.0
_BLOCK = 64


def no_rest() -> None:
    """Go on at once."""


def flattened(
    vectors: Float32[np.ndarray, "n d"], seed: int = 0, rest: Callable[[], None] = no_rest
) -> Float64[np.ndarray, "n 2"]:
    """Return a place within the unit circle for each vector, [n, 2]: the same for the same vectors on one machine.

    Begins with the two directions in which the vectors differ most. Then each place is drawn to those of its nearest
    neighbours and pushed away from those of a few strangers, by the forces of UMAP with a = b = 1, ever less far.

    Args:
        vectors: Finite, [n, d]; their directions count, not their lengths.
        seed: Of the strangers.
        rest: Called some milliseconds of work apart, to leave the core to others.

    Source:
        McInnes et al. 2018, UMAP: Uniform manifold approximation and projection, section 3.2.

    Example:
        >>> places = flattened(np.repeat(np.eye(2, dtype=np.float32), 20, axis=0))
        >>> groups = places[:20], places[20:]
        >>> bool(np.linalg.norm(groups[0].mean(0) - groups[1].mean(0)) > 3 * max(group.std() for group in groups))
        True
    """
    count = len(vectors)
    if count < 2:
        return np.zeros((count, 2))
    random = np.random.default_rng(seed)
    directions = normalised(vectors)
    near = nearest(directions, directions, min(NEIGHBOURS, count - 1), itself=False, rest=rest)
    places = 10 * _widest(directions) + random.normal(0, 1e-3, (count, 2))
    for step in range(_STEPS):
        places += (1 - step / _STEPS) * _force(places, near, random.integers(0, count, (count, _STRANGERS)))
        rest()
    places -= places.mean(axis=0)
    return places / max(float(np.linalg.norm(places, axis=1).max()), 1e-9)


def normalised(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    """Return vectors of length 1; zero ones stay."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def nearest(
    some: Float32[np.ndarray, "n d"],
    others: Float32[np.ndarray, "m d"],
    count: int,
    *,
    itself: bool = True,
    rest: Callable[[], None] = no_rest,
) -> Int64[np.ndarray, "n k"]:
    """Return for each of some the places of those of others with the highest inner product, in no order, [n, count].

    Args:
        some: For whom.
        others: Among whom.
        count: How many; at most m.
        itself: Whether the one at the same place counts.
        rest: As of flattened.
    """
    found = np.empty((len(some), count), np.int64)
    for begin in range(0, len(some), _BLOCK):
        block = some[begin : begin + _BLOCK] @ others.T
        if not itself:
            np.fill_diagonal(block[:, begin:], -np.inf)
        found[begin : begin + _BLOCK] = np.argpartition(-block, count - 1, axis=1)[:, :count]
        rest()
    return found


def _widest(vectors: Float32[np.ndarray, "n d"]) -> Float64[np.ndarray, "n 2"]:
    """Return the vectors along the two directions in which they differ most, within -1 and 1, [n, 2]."""
    centred = (vectors - vectors.mean(axis=0)).astype(np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1)
    along = np.zeros((len(vectors), 2))
    along[:, : axes.shape[1]] = centred @ axes
    return along / max(float(np.abs(along).max()), 1e-9)


def _force(
    places: Float64[np.ndarray, "n 2"], near: Int64[np.ndarray, "n k"], strangers: Int64[np.ndarray, "n m"]
) -> Float64[np.ndarray, "n 2"]:
    """Return where each place is drawn and pushed, [n, 2]."""
    to_near, to_strangers = places[near] - places[:, None], places[strangers] - places[:, None]
    pull = (to_near / (1 + (to_near**2).sum(axis=2, keepdims=True))).mean(axis=1)
    squares = (to_strangers**2).sum(axis=2, keepdims=True)
    push = (to_strangers / ((0.01 + squares) * (1 + squares))).clip(-_FARTHEST, _FARTHEST).mean(axis=1)
    return pull - push
