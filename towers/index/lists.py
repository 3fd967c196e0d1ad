"""Vectors that are near each other stand in one list; a search looks into the lists that promise the most."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.block import RUN, lift_one
from towers.index.codes import Blocks, Frame, blocks_of
from towers.index.instructions import SLOTS
from towers.index.look import Request, Stock, answer, gone_of
from towers.index.scan import AHEAD, Asked, Found, begin, scan, shrink

_ROUND = 4
_BINS = 1000
_SAMPLE = 65_536
_AT_ONCE = 1024


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


class Effort(NamedTuple):
    """How far a search goes.

    Attributes:
        probes: Into how many lists at most.
        reach: By how many standard deviations a list's best is supposed to be better than its mean.
        stops: Whether lists that promise nothing better than what has been found are left alone.
    """

    probes: int
    reach: float
    stops: bool


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
    means = _sums(vectors, assigned, count) / sizes[:, None]
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
    means = lists.centers.vectors[full, :-1]
    weighed = lists.weight @ means.T
    half = (means.T * weighed).sum(axis=0) / 2
    nearest = np.zeros(len(vectors), np.int64)
    for start in range(0, len(vectors) if len(full) else 0, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        nearest[part] = full[(vectors[part] @ weighed - half).argmax(axis=1)]
    return nearest


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
def _sums(vectors: np.ndarray, assigned: np.ndarray, count: int) -> np.ndarray:
    sums = np.zeros((count, vectors.shape[1]))
    for row in range(assigned.size):
        for axis in range(vectors.shape[1]):
            sums[assigned[row], axis] += vectors[row, axis]
    return sums


@compiled
def _squares(vectors: np.ndarray, assigned: np.ndarray, means: np.ndarray) -> np.ndarray:
    squares = np.zeros(means.shape[0])
    for row in range(assigned.size):
        for axis in range(vectors.shape[1]):
            squares[assigned[row]] += (vectors[row, axis] - means[assigned[row], axis]) ** 2
    return squares


@compiled
def look_in_lists(stock: Stock, request: Request, lists: Lists, effort: Effort) -> None:
    """Find the best k of every query, until no list promises anything better than the k-th that has been found.

    What a list promises is its mean's score and `reach` standard deviations of its vectors' scores.
    """
    q, k = request.ids.shape
    asked, bounds = begin(request.queries, stock.frame, k)
    found = (asked, bounds, gone_of(stock, request))
    for row in range(q):
        aim = _aim(request.queries[row], lists.shape, effort.reach)
        _look_for(stock, lists, request.may, found, (row, k, effort), aim)
        answer(stock, request, found, row)


@compiled
def _aim(query: Float32[np.ndarray, " d"], shape: Float32[np.ndarray, "d d"], reach: float) -> np.ndarray:
    """Return the query and what it makes of how far a list's vectors are from their mean, [1, d + 1]."""
    aim = np.empty((1, query.size + 1), np.float32)
    square = np.float32(0)
    for axis in range(query.size):
        total = np.float32(0)
        for other in range(query.size):
            total += shape[axis, other] * query[other]
        square += total * query[axis]
        aim[0, axis] = query[axis]
    aim[0, query.size] = reach * np.sqrt(np.maximum(square, np.float32(0)))
    return aim


@compiled
def _look_for(
    stock: Stock,
    lists: Lists,
    may: UInt16[np.ndarray, " blocks"],
    found: Found,
    task: tuple[int, int, Effort],
    aim: np.ndarray,
) -> None:
    """Look into the lists of one query, in rounds that grow: after each it is known better what is worth a look."""
    row, k, effort = task
    asked, bounds, _ = found
    nearest, promises = _nearest(lists, aim, effort.probes)
    done, each = 0, _ROUND
    while done < nearest.size:
        least = asked.least[row] * bounds.unit[row] + bounds.base[row] if effort.stops else -np.inf
        stop = done
        while stop < min(done + each, nearest.size) and promises[stop] >= least:
            stop += 1
        if stop == done:
            return
        order = _blocks_of(lists.begins, nearest[done:stop], may)
        scan(stock.blocks, may, (order, order[AHEAD:]), found, (row, row + 1), k)
        shrink(stock.blocks, found, row, k)
        done, each = stop, 2 * each


@compiled
def _nearest(lists: Lists, aim: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the lists that promise the most, best first, and what they promise, as bytes tell."""
    asked, bounds = begin(aim, lists.frame, 1)
    size = (lists.order.size + RUN - 1) // RUN * RUN
    scores = np.full((1, size * SLOTS), -np.inf, np.float32)
    asked.bias[0] += np.int32(bounds.doubt[0] / 2)  # not the highest that they can be, but the likeliest
    likely = Asked(asked.numbers, asked.bias, asked.least, asked.slots, scores, asked.kept)
    for place in range(0, lists.order.size, RUN):
        end = min(place + RUN, lists.order.size)
        lift_one(lists.centers, lists.centers.alive, (lists.order, place, end), likely, 0)
    nearest, promises = _about_falling(scores[0], count)
    return nearest, promises * bounds.unit[0] + bounds.base[0]


@compiled
def _about_falling(scores: Float32[np.ndarray, " n"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the highest finite scores, the highest first but for a thousandth of their range.

    Returns:
        The places, and no lower than the score of each, at most a thousandth of the range higher, what never rises.
    """
    high, low, some = -np.inf, np.inf, 0
    for score in scores:
        if score > -np.inf:
            high, low, some = max(high, score), min(low, score), some + 1
    step = (high - low) / _BINS if high > low else 1.0
    ends = np.zeros(_BINS + 2, np.int64)
    for score in scores:
        if score > -np.inf:
            ends[np.int64((high - score) / step) + 1] += 1
    for each in range(1, ends.size):
        ends[each] += ends[each - 1]
    places, about = np.empty(some, np.int32), np.empty(some)
    for place in range(scores.size):
        if scores[place] > -np.inf:
            bin_of = np.int64((high - scores[place]) / step)
            places[ends[bin_of]], about[ends[bin_of]] = place, high - bin_of * step
            ends[bin_of] += 1
    return places[:count], about[:count]


@compiled
def _blocks_of(begins: Int32[np.ndarray, " lists_1"], chosen: np.ndarray, may: np.ndarray) -> np.ndarray:
    """Return the blocks of lists that hold anything that may be returned, one list after the other."""
    room = 0
    for each in chosen:
        room += begins[each + 1] - begins[each]
    order, count = np.empty(room, np.int32), 0
    for each in chosen:
        for block in range(begins[each], begins[each + 1]):
            order[count] = block
            count += may[block] != 0
    return order[:count]
