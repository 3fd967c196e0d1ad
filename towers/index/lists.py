"""Vectors that are near each other stand in one list, which says what it promises."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.codes import Blocks, Frame, blocks_of
from towers.index.instructions import SLOTS
from towers.index.kmeans import highest, sums_of

_SAMPLE = 65_536


class Lists(NamedTuple):
    """Which blocks belong to each list, and what it promises.

    Attributes:
        begins: The first block of each list, and one more, [lists + 1].
        centers: The mean of each list's vectors, and behind it how far they are from it along an axis, about:
            the root of the mean square; empty lists are not alive, [lists] of [d + 1].
        frame: How the centers became bytes.
        order: All blocks of centers.
        shape: Covariance of what vectors differ from their list's mean, over that mean square: the unit matrix
            where they scatter alike in all directions, [d, d].
        weight: What a difference of vectors weighs, see clusters.weight_of: by it lists were formed, [d, d].
    """

    begins: Int32[np.ndarray, " lists_1"]
    centers: Blocks
    frame: Frame
    order: Int32[np.ndarray, " blocks"]
    shape: Float32[np.ndarray, "d d"]
    weight: Float32[np.ndarray, "d d"]


def slots_in_lists(
    assigned: Int64[np.ndarray, " n"], count: int
) -> tuple[Int64[np.ndarray, " n"], Int32[np.ndarray, " lists_1"]]:
    """Return the slots of vectors, each list beginning with a block of its own, and where the lists begin.

    Example:
        >>> slots, begins = slots_in_lists(np.array([1, 0, 1]), 2)
        >>> slots.tolist(), begins.tolist()
        ([16, 0, 17], [0, 1, 2])
    """
    sizes = np.bincount(assigned, minlength=count)
    begins = np.concatenate([[0], np.cumsum(-(-sizes // SLOTS))]).astype(np.int32)
    order, before = np.argsort(assigned, kind="stable"), np.cumsum(sizes) - sizes
    slots = np.empty(len(assigned), np.int64)
    slots[order] = begins[assigned[order]] * np.int64(SLOTS) + np.arange(len(order)) - before[assigned[order]]
    return slots, begins


def lists_of(
    vectors: Float32[np.ndarray, "n d"],
    assigned: Int64[np.ndarray, " n"],
    begins: Int32[np.ndarray, " lists_1"],
    weight: Float32[np.ndarray, "d d"] | None = None,
) -> Lists:
    """Return what the lists promise, from the vectors that were assigned to them by a weight, or by direction."""
    count, dim = len(begins) - 1, vectors.shape[1]
    sizes = np.maximum(np.bincount(assigned, minlength=count), 1)
    means = sums_of(vectors, assigned, count) / sizes[:, None]
    sample = slice(None, None, -(-len(vectors) // _SAMPLE) or 1)
    left = vectors[sample] - means[assigned[sample]]
    squares = _squares(vectors, assigned, means) / sizes
    mean_square = float((left**2).mean()) if left.any() else 1.0
    shape = np.divide(left.T @ left, max(len(left), 1) * mean_square)
    wide = np.hstack([means, np.sqrt(squares / dim)[:, None]]).astype(np.float32)
    full = np.flatnonzero(np.diff(begins))
    centers, frame = blocks_of(wide[full], full, full)
    order = np.arange(len(centers.alive), dtype=np.int32)
    even = np.eye(dim, dtype=np.float32)
    return Lists(begins, centers, frame, order, shape.astype(np.float32), even if weight is None else weight)


def nearest_lists(lists: Lists, vectors: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, " m"]:
    """Return for each vector the list whose mean is nearest, [m]; lists that are empty get none."""
    full = np.flatnonzero(lists.centers.ids >= 0)
    if not len(full):
        return np.zeros(len(vectors), np.int64)
    means = lists.centers.vectors[full, :-1]
    weighed = means @ lists.weight
    return full[highest(vectors, weighed, (means * weighed).sum(axis=1) / 2)[0]]


@compiled
def holding(
    begins: Int32[np.ndarray, " lists_1"], may: UInt16[np.ndarray, " blocks"], alive: UInt16[np.ndarray, " l"]
) -> UInt16[np.ndarray, " l"]:
    """Return the bits of the lists that hold anything that may be returned, of those that are alive."""
    words = np.zeros_like(alive)
    for each in range(begins.size - 1):
        for block in range(begins[each], begins[each + 1]):
            if may[block]:
                words[each // SLOTS] |= np.uint16(1 << (each % SLOTS))
                break
    return words & alive


@compiled
def _squares(vectors: np.ndarray, assigned: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = np.zeros(means.shape[0])
    for row in range(assigned.size):
        for axis in range(vectors.shape[1]):
            squares[assigned[row]] += (vectors[row, axis] - means[assigned[row], axis]) ** 2
    return squares
