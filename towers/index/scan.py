"""Exact search by bytes: whatever the bytes' error leaves possible is scored again in float32."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int8, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.block import RUN, TOGETHER, finish, keep_one, keep_several, prepare
from towers.index.codes import Blocks, Frame
from towers.index.instructions import LINE, SLOTS, ordered, prefetch
from towers.index.places import among
from towers.index.products import BYTES

AHEAD = 4
"""Blocks that memory is asked for before they are looked at, where it is one query that looks."""
_FAR_AHEAD = 32
_MANY = 8
_BINS = 255
_HIGHEST = 127


class Asked(NamedTuple):
    """Queries as bytes, and what may be among the best k of each so far; see block.keep_one.

    Attributes:
        numbers: Query × step as whole numbers, [q or more, width].
        bias: 128 × their sum, less the error that is allowed for: so scores are the highest possible, [q].
        least: Score from which on a vector may be among the best k, [q].
        slots: Which vectors are kept, [q, room].
        high: The highest that their scores can be, in the queries' units, [q, room].
        kept: How many they are, [q].
    """

    numbers: Int8[np.ndarray, "rows width"]
    bias: Int32[np.ndarray, " q"]
    least: Float32[np.ndarray, " q"]
    slots: Int32[np.ndarray, "q room"]
    high: Float32[np.ndarray, "q room"]
    kept: Int64[np.ndarray, " q"]


class Bounds(NamedTuple):
    """How far from the truth the scores of each query may be.

    Attributes:
        queries: The queries, [q, d].
        doubt: Twice the largest error of a score by bytes, over the vector's scale, [q].
        slack: How much more float32's own rounding can add, [q].
        unit: What a query's byte is worth, [q].
        base: Score of the center, [q].
    """

    queries: Float32[np.ndarray, "q d"]
    doubt: Float32[np.ndarray, " q"]
    slack: Float32[np.ndarray, " q"]
    unit: Float64[np.ndarray, " q"]
    base: Float64[np.ndarray, " q"]


class Gone(NamedTuple):
    """What each query must not be given.

    Attributes:
        begins: Where each query's part of the table begins, [q + 1].
        table: A set_of slots for each query, empty where it may be given all.
        checked: How many of those that each query keeps have been looked up here, and stayed, [q]; written.
    """

    begins: Int64[np.ndarray, " q_1"]
    table: Int32[np.ndarray, " places"]
    checked: Int64[np.ndarray, " q"]


Found = tuple[Asked, Bounds, Gone]
Rows = tuple[int, int]
Orders = tuple[Int32[np.ndarray, " m"], Int32[np.ndarray, " ahead"]]


@compiled
def begin(queries: Float32[np.ndarray, "q d"], frame: Frame, k: int) -> tuple[Asked, Bounds]:
    """Return queries as bytes, several of them filled up to a multiple of TOGETHER; and room for their best."""
    q, dim = queries.shape
    width = (dim + BYTES - 1) // BYTES * BYTES
    room = 4 * k + 2 * RUN * SLOTS
    rows = q if q == 1 else (q + TOGETHER - 1) // TOGETHER * TOGETHER
    place = np.zeros(rows * width + LINE, np.int8)
    start = -place.ctypes.data % LINE
    asked = Asked(
        place[start : start + rows * width].reshape(rows, width),
        np.empty(q, np.int32),
        np.full(q, -np.inf, np.float32),
        np.empty((q, room), np.int32),
        np.empty((q, room), np.float32),
        np.zeros(q, np.int64),
    )
    bounds = Bounds(queries, np.empty(q, np.float32), np.empty(q, np.float32), np.empty(q), np.empty(q))
    for row in range(q):
        _as_bytes(asked, bounds, frame, row)
    return asked, bounds


@compiled
def _as_bytes(asked: Asked, bounds: Bounds, frame: Frame, row: int) -> None:
    highest = length = base = 0.0
    dim = bounds.queries.shape[1]
    for axis in range(dim):
        number = np.float64(bounds.queries[row, axis])
        highest = max(highest, abs(number * frame.step[axis]))
        length += number * number
        base += number * frame.center[axis]
    unit = highest / _HIGHEST if highest > 0 else 1.0
    left = norm = 0.0
    total = np.int64(0)
    for axis in range(dim):
        exact = np.float64(bounds.queries[row, axis]) * frame.step[axis] / unit
        code = np.rint(exact)
        left += (exact - code) ** 2
        norm += exact * exact
        total += np.int64(code)
        asked.numbers[row, axis] = np.int8(code)
    reach, widest, longest = frame.most
    error = np.ceil(np.sqrt(norm) * reach + np.sqrt(left) * widest) + 1
    asked.bias[row] = 128 * total - np.int64(error)
    bounds.doubt[row] = 2 * error
    # Sums of float32 are off by at most dim roundings of the product of lengths; four times that covers all others.
    bounds.slack[row] = (dim + 16) * 2.0**-22 * np.sqrt(length) * longest / unit
    bounds.unit[row], bounds.base[row] = unit, base


@compiled
def scan(blocks: Blocks, may: UInt16[np.ndarray, " blocks"], orders: Orders, found: Found, rows: Rows, k: int) -> None:
    """Look through blocks in an order, for one query or for up to TOGETHER that share one reading.

    Args:
        blocks: Where.
        may: 16 bits to a block, set where a slot may be returned.
        orders: Which blocks, those that are likely to hold the best first; and which to ask memory for meanwhile.
        found: What is found so far; written.
        rows: The first query, and the one after the last.
        k: How many are wanted.
    """
    (order, ahead), asked = orders, found[0]
    first, last = rows
    full = asked.slots.shape[1] - RUN * SLOTS
    prepare(asked.numbers.shape[1])
    each = 1 if last - first == 1 else RUN
    for place in range(0, order.size, each):
        end = min(place + each, order.size)
        for later in range(place * ahead.size // order.size, end * ahead.size // order.size):
            prefetch(blocks.codes, ahead[later])
        if last - first == 1:
            most = keep_one(blocks, may, (order, place, end), asked, first)
        else:
            most = keep_several(blocks, may, (order, place, end), asked, first)
        if most > full:
            for row in range(first, last):
                if asked.kept[row] > full:
                    make_room(blocks, found, row, k)
    finish()


@compiled
def make_room(blocks: Blocks, found: Found, row: int, k: int) -> None:
    """Drop what cannot be among the best k any more; where that is little, settle what stays."""
    shrink(blocks, found, row, k)
    asked, bounds, _ = found
    if asked.kept[row] > asked.slots.shape[1] - (RUN + 4) * SLOTS:
        slots, scores = best_of(blocks, bounds.queries[row], asked.slots[row, : asked.kept[row]], k)
        for place in range(slots.size):
            exact = (np.float64(scores[place]) - bounds.base[row]) / bounds.unit[row]
            asked.slots[row, place] = slots[place]
            asked.high[row, place] = exact + bounds.slack[row]
        asked.kept[row] = found[2].checked[row] = slots.size


@compiled
def shrink(blocks: Blocks, found: Found, row: int, k: int) -> bool:
    """Drop what the query must not be given, and what cannot be among its best k any more.

    Returns:
        Whether k of what is kept are sure to reach the least score: so none of the best k was passed by.
    """
    asked, bounds, gone = found
    slots, high, count = asked.slots[row], asked.high[row], asked.kept[row]
    own = gone.table[gone.begins[row] : gone.begins[row + 1]]
    if own.size:
        kept = gone.checked[row]
        for place in range(kept, count):
            slots[kept], high[kept] = slots[place], high[place]
            kept += not among(own, slots[place])
        asked.kept[row] = count = kept
    gone.checked[row] = count
    if count < k:
        return asked.least[row] == -np.inf
    low, sure = np.empty(count, np.float32), 0
    for place in range(count):
        low[place] = high[place] - bounds.doubt[row] * blocks.scales[slots[place]] - 2 * bounds.slack[row]
        sure += low[place] >= asked.least[row]
    least = max(asked.least[row], about_kth_highest(low, k))
    kept = 0
    for place in range(count):
        here = high[place]
        slots[kept], high[kept] = slots[place], here
        kept += here >= least
    asked.kept[row], asked.least[row], gone.checked[row] = kept, least, kept
    return sure >= k


@compiled
def best_of(
    blocks: Blocks, query: Float32[np.ndarray, " d"], slots: Int32[np.ndarray, " m"], k: int
) -> tuple[Int32[np.ndarray, " b"], Float32[np.ndarray, " b"]]:
    """Return the best k of some slots and their scores in float32, best first, equal ones by the lower id."""
    scores, dim = np.empty(slots.size, np.float32), query.size
    for place in range(slots.size):
        prefetch(blocks.vectors, slots[min(place + _FAR_AHEAD, slots.size - 1)])
        total = np.float32(0)
        for axis in range(dim):
            total += blocks.vectors[slots[place], axis] * query[axis]
        scores[place] = total
    if scores.size > _MANY * k:
        # To sort takes longer than to find what need not be.
        least, kept = about_kth_highest(scores, k), 0
        some = np.empty(slots.size, np.int32)
        for place in range(scores.size):
            some[kept], scores[kept] = slots[place], scores[place]
            kept += scores[place] >= least
        slots, scores = some[:kept], scores[:kept]
    places = falling(scores)
    for place in range(1, places.size):
        here, back = places[place], place
        while (
            back > 0
            and scores[places[back - 1]] == scores[here]
            and (blocks.ids[slots[places[back - 1]]] > blocks.ids[slots[here]])
        ):
            places[back] = places[back - 1]
            back -= 1
        places[back] = here
    best, worth = np.empty(min(k, places.size), np.int32), np.empty(min(k, places.size), np.float32)
    for place in range(best.size):
        best[place], worth[place] = slots[places[place]], scores[places[place]]
    return best, worth


@compiled
def falling(scores: Float32[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """Return the places of scores, the highest first: sorted byte by byte, which has no branch to be guessed wrong."""
    n = scores.size
    keys, places, counts = np.empty(n, np.uint32), np.empty(n, np.int32), np.zeros((4, 256), np.int32)
    for place in range(n):
        places[place] = place
        key = ~np.uint32(ordered(scores[place]) ^ np.int32(-(2**31)))
        keys[place] = key
        for byte in range(4):
            counts[byte, (key >> np.uint32(8 * byte)) & np.uint32(255)] += 1
    other = np.empty(n, np.int32)
    for byte in range(4):
        if counts[byte].max() == n:
            continue
        begin = 0
        for digit in range(256):
            size = counts[byte, digit]
            counts[byte, digit] = begin
            begin += size
        for each in places:
            figure = (keys[each] >> np.uint32(8 * byte)) & np.uint32(255)
            other[counts[byte, figure]] = each
            counts[byte, figure] += 1
        places, other = other, places
    return places


@compiled
def about_kth_highest(numbers: Float32[np.ndarray, " n"], k: int) -> np.float32:
    """Return a number that at least k of these reach, about the highest such; counted in bins, without branches."""
    low, high = numbers.min(), numbers.max()
    if not 0 < high - low < np.inf:
        return low
    counts, worth = np.zeros(_BINS + 1, np.int32), np.float32(_BINS) / (high - low)
    for number in numbers:
        counts[np.int32((number - low) * worth)] += 1
    place = _BINS
    total = counts[place]
    while total < k:
        place -= 1
        total += counts[place]
    least = high
    for number in numbers:
        if np.int32((number - low) * worth) >= place:
            least = min(least, number)
    return least
