"""What lists promise a query, and which of them promise the most."""

import numpy as np
from jaxtyping import Float32

from towers.compiled import compiled
from towers.index.block import RUN, lift_one
from towers.index.instructions import SLOTS
from towers.index.lists import Lists
from towers.index.scan import Asked, about_kth_highest, begin, falling

_COLUMNS, _FEW_ROWS = RUN * SLOTS, 4
"""Of a table of what lists promise; with few rows, all are sorted."""
_BINS = 1000


@compiled
def aim_of(query: Float32[np.ndarray, " d"], shape: Float32[np.ndarray, "d d"], reach: float) -> np.ndarray:
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
def promised(lists: Lists, aim: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
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
def first(scores: Float32[np.ndarray, " n"], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of some of the highest scores, highest first, and the scores, or a little more than these.

    None of the others is higher. What seven in eight columns of a table of the scores reach, about twice as many
    scores do as there are columns: to sort these alone takes a quarter of the time where there are thousands, and few
    queries look into more lists.
    """
    if scores.size <= _FEW_ROWS * _COLUMNS:
        return about_falling(scores, count)
    highest = scores[:_COLUMNS].copy()
    for start in range(_COLUMNS, scores.size, _COLUMNS):
        for column in range(_COLUMNS):
            score = scores[start + column]
            highest[column] = score if score > highest[column] else highest[column]
    least = about_kth_highest(highest, _COLUMNS - _COLUMNS // 8)
    places, kept = np.empty(scores.size, np.int32), 0
    for place in range(scores.size):
        places[kept] = place
        kept += scores[place] >= least and scores[place] > -np.inf
    some = places[:kept]
    order = some[falling(scores[some])][:count]
    return order, scores[order].astype(np.float64)


@compiled
def about_falling(scores: Float32[np.ndarray, " n"], count: int) -> tuple[np.ndarray, np.ndarray]:
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
