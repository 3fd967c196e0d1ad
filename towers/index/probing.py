"""A search looks into the lists that promise a query the most, until none promises anything better."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt16

from towers.compiled import compiled
from towers.index.block import RUN, lift_one
from towers.index.instructions import SLOTS
from towers.index.lists import Lists
from towers.index.look import Stock, answer, gone_of
from towers.index.request import Request
from towers.index.scan import AHEAD, Asked, Bounds, Found, about_kth_highest, begin, falling, scan, shrink

_ROUND = 4
_COLUMNS, _FEW_ROWS = RUN * SLOTS, 4
"""Of a table of what lists promise; with few rows, all are sorted."""
_BINS = 1000
_DEVIATIONS = 4.5
"""Of the rounding of bytes: so large an error is allowed for in place of the worst, which is √(2 d) of them."""


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


@compiled
def look_in_lists(stock: Stock, request: Request, lists: Lists, effort: Effort) -> None:
    """Find the best k of every query, until no list promises anything better than the k-th that has been found.

    What a list promises is its mean's score and `reach` standard deviations of its vectors' scores.
    """
    q, k = request.ids.shape
    asked, bounds = begin(request.queries, stock.frame, k)
    found = (asked, bounds, gone_of(stock, request))
    if effort.stops:
        _trust(asked, bounds)
    for row in range(q):
        aim = _aim(request.queries[row], lists.shape, effort.reach)
        _look_for(stock, lists, request.may, found, (row, k, effort), aim)
        answer(stock, request, found, row)


@compiled
def _trust(asked: Asked, bounds: Bounds) -> None:
    """Allow for less error than there can be at most, as all of it goes one way next to never."""
    likely = min(1.0, _DEVIATIONS / np.sqrt(2.0 * bounds.queries.shape[1]))
    for row in range(bounds.doubt.size):
        asked.bias[row] += np.int32((1 - likely) * bounds.doubt[row] / 2)
        bounds.doubt[row] *= np.float32(likely)


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
    """Look into the lists of one query: first into some that promise the most, seldom into all others, too."""
    _, _, effort = task
    scores, worth = _promised(lists, aim)
    nearest, about = _first(scores, effort.probes)
    left = effort.probes - nearest.size
    if _go_on(stock, lists, may, found, task, (nearest, about * worth[0] + worth[1])) and left > 0:
        scores[nearest] = -np.inf
        rest, about = _about_falling(scores, left)
        _go_on(stock, lists, may, found, task, (rest, about * worth[0] + worth[1]))


@compiled
def _go_on(
    stock: Stock,
    lists: Lists,
    may: UInt16[np.ndarray, " blocks"],
    found: Found,
    task: tuple[int, int, Effort],
    promising: tuple[np.ndarray, np.ndarray],
) -> bool:
    """Look into lists in rounds that grow: after each it is known better what is worth a look.

    Returns:
        Whether all of them were.
    """
    row, k, effort = task
    nearest, promises = promising
    asked, bounds, _ = found
    done, each = 0, _ROUND
    while done < nearest.size:
        least = asked.least[row] * bounds.unit[row] + bounds.base[row] if effort.stops else -np.inf
        stop = done
        while stop < min(done + each, nearest.size) and promises[stop] >= least:
            stop += 1
        if stop == done:
            return False
        order = _blocks_of(lists.begins, nearest[done:stop], may)
        scan(stock.blocks, may, (order, order[AHEAD:]), found, (row, row + 1), k)
        shrink(stock.blocks, found, row, k)
        done, each = stop, 2 * each
    return True


@compiled
def _promised(lists: Lists, aim: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Return what each list promises, -inf behind the last, as bytes tell; and what to multiply that with and add."""
    asked, bounds = begin(aim, lists.frame, 1)
    size = (lists.order.size + RUN - 1) // RUN * RUN
    scores = np.full((1, size * SLOTS), -np.inf, np.float32)
    asked.bias[0] += np.int32(bounds.doubt[0] / 2)  # not the highest that they can be, but the likeliest
    likely = Asked(asked.numbers, asked.bias, asked.least, asked.slots, scores, asked.kept)
    for place in range(0, lists.order.size, RUN):
        end = min(place + RUN, lists.order.size)
        lift_one(lists.centers, lists.centers.alive, (lists.order, place, end), likely, 0)
    return scores[0], (bounds.unit[0], bounds.base[0])


@compiled
def _first(scores: Float32[np.ndarray, " n"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of some of the highest scores, highest first, and the scores, or a little more than these.

    None of the others is higher. What half of the columns of a table of the scores reach, about as many scores do as
    there are columns: to sort these alone takes a quarter of the time where there are thousands.
    """
    if scores.size <= _FEW_ROWS * _COLUMNS:
        return _about_falling(scores, count)
    highest = scores[:_COLUMNS].copy()
    for start in range(_COLUMNS, scores.size, _COLUMNS):
        for column in range(_COLUMNS):
            score = scores[start + column]
            highest[column] = score if score > highest[column] else highest[column]
    least = about_kth_highest(highest, _COLUMNS // 2)
    places, kept = np.empty(scores.size, np.int32), 0
    for place in range(scores.size):
        places[kept] = place
        kept += scores[place] >= least and scores[place] > -np.inf
    some = places[:kept]
    order = some[falling(scores[some])][:count]
    return order, scores[order].astype(np.float64)


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
