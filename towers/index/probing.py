"""A search looks into the lists that promise a query the most, until none promises anything better."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.block import RUN, finish, keep_one, prepare
from towers.index.instructions import SLOTS, prefetch
from towers.index.lists import Lists
from towers.index.look import Stock, answer, gone_of
from towers.index.promises import about_falling, aim_of, first, promised
from towers.index.request import Request
from towers.index.scan import AHEAD, Asked, Bounds, Found, begin, make_room, scan, shrink

_ROUND = 4
_DEVIATIONS = 4.5
"""Of the rounding of bytes: so large an error is allowed for in place of the worst, which is √(2 d) of them."""
_SEVERAL = 4
"""With fewer queries lists have too few readers for what it takes to sort them by lists."""
_SORTED = 512
"""Of so many lists at most it is kept what they promise each of several queries."""


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


Task = tuple[int, int, Effort]
"""A query, how many it wants, and how far to go."""


class Plan(NamedTuple):
    """Into which lists each of several queries looks.

    Attributes:
        nearest: Lists, those that promise the most first, [q, sorted].
        promises: What they promise, [q, sorted].
        many: How many there are, [q].
        done: How many have been looked into, [q].
    """

    nearest: Int32[np.ndarray, "q s"]
    promises: Float64[np.ndarray, "q s"]
    many: Int64[np.ndarray, " q"]
    done: Int64[np.ndarray, " q"]


@compiled
def look_in_lists(stock: Stock, request: Request, lists: Lists, effort: Effort) -> None:
    """Find the best k of every query, until no list promises anything better than the k-th that has been found.

    What a list promises is its mean's score and `reach` standard deviations of its vectors' scores. Several queries go
    the same way together: what one of them reads of a list, the next finds in the processor's cache. The order of
    reading can move where one of them stops, so what it finds is almost always, not always, what it finds alone.
    """
    q, k = request.ids.shape
    asked, bounds = begin(request.queries, stock.frame, k)
    found = (asked, bounds, gone_of(stock, request))
    if effort.stops:
        _trust(asked, bounds)
    if q < _SEVERAL:
        for row in range(q):
            _look_for(stock, lists, request.may, found, (row, k, effort))
    else:
        left = np.ones(q, np.bool_)
        for rest in (False, True):
            if left.any():
                left = _look_together(stock, lists, request, found, (_plan(lists, request, effort, left, rest), effort))
    for row in range(q):
        answer(stock, request, found, row)


@compiled
def _trust(asked: Asked, bounds: Bounds) -> None:
    """Allow for less error than there can be at most, as all of it goes one way next to never."""
    likely = min(1.0, _DEVIATIONS / np.sqrt(2.0 * bounds.queries.shape[1]))
    for row in range(bounds.doubt.size):
        asked.bias[row] += np.int32((1 - likely) * bounds.doubt[row] / 2)
        bounds.doubt[row] *= np.float32(likely)


@compiled
def _look_for(stock: Stock, lists: Lists, may: UInt16[np.ndarray, " blocks"], found: Found, task: Task) -> None:
    """Look into the lists of one query: first into some that promise the most, seldom into all others, too."""
    (row, _, effort), (_, bounds, _) = task, found
    scores, worth = promised(lists, aim_of(bounds.queries[row], lists.shape, effort.reach))
    nearest, about = first(scores, min(effort.probes, _SORTED))
    left = effort.probes - nearest.size
    if _go_on(stock, lists, may, found, task, (nearest, about * worth[0] + worth[1])) and left > 0:
        scores[nearest] = -np.inf
        rest, about = about_falling(scores, left)
        _go_on(stock, lists, may, found, task, (rest, about * worth[0] + worth[1]))


@compiled
def _go_on(
    stock: Stock,
    lists: Lists,
    may: UInt16[np.ndarray, " blocks"],
    found: Found,
    task: Task,
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
def _look_together(
    stock: Stock, lists: Lists, request: Request, found: Found, task: tuple[Plan, Effort]
) -> Bool[np.ndarray, " q"]:
    """Look into the lists that are planned, list by list, in rounds as of one query; return who looked into all."""
    (q, k), (asked, bounds, _), (plan, effort) = request.ids.shape, found, task
    whole, looking, each = np.zeros(q, np.bool_), plan.many > 0, _ROUND
    ends, who = np.empty(lists.begins.size, np.int64), np.empty(plan.nearest.size, np.int32)
    while looking.any():
        ends[:] = 0
        begun = plan.done.copy()
        for row in np.flatnonzero(looking):
            least = asked.least[row] * bounds.unit[row] + bounds.base[row] if effort.stops else -np.inf
            stop = begun[row]
            while stop < min(begun[row] + each, plan.many[row]) and plan.promises[row, stop] >= least:
                ends[plan.nearest[row, stop] + 1] += 1
                stop += 1
            if stop == begun[row]:
                looking[row], whole[row] = False, stop == plan.many[row]
            plan.done[row] = stop
        # Sorted by their lists: where each list's part begins, which by and by becomes its end.
        for each_list in range(1, ends.size):
            ends[each_list] += ends[each_list - 1]
        for asker in range(q):
            for place in range(begun[asker], plan.done[asker]):
                at = plan.nearest[asker, place]
                who[ends[at]] = asker
                ends[at] += 1
        _read(stock, lists, request.may, found, (ends, who), k)
        for row in np.flatnonzero(looking):
            shrink(stock.blocks, found, row, k)
        each *= 2
    return whole


@compiled
def _plan(lists: Lists, request: Request, effort: Effort, who: Bool[np.ndarray, " q"], rest: bool) -> Plan:
    """Return into which lists some queries look: those that promise the most, or once those are done, the rest."""
    q, room = who.size, effort.probes if rest else min(effort.probes, _SORTED)
    plan = Plan(np.empty((q, room), np.int32), np.empty((q, room)), np.zeros(q, np.int64), np.zeros(q, np.int64))
    for row in np.flatnonzero(who):
        scores, worth = promised(lists, aim_of(request.queries[row], lists.shape, effort.reach))
        nearest, about = first(scores, min(effort.probes, _SORTED))
        if rest:
            scores[nearest] = -np.inf
            nearest, about = about_falling(scores, effort.probes - nearest.size)
        plan.many[row] = nearest.size
        for place in range(nearest.size):
            plan.nearest[row, place] = nearest[place]
            plan.promises[row, place] = about[place] * worth[0] + worth[1]
    return plan


@compiled
def _read(
    stock: Stock,
    lists: Lists,
    may: UInt16[np.ndarray, " blocks"],
    found: Found,
    wanted: tuple[Int64[np.ndarray, " lists_1"], Int32[np.ndarray, " w"]],
    k: int,
) -> None:
    """Read lists one after the other, each for all queries that want it.

    Args:
        stock: What is read.
        lists: Of it.
        may: 16 bits to a block, set where a slot may be returned.
        found: What is found so far; written.
        wanted: Where in the second each list's queries end, and the queries, list after list.
        k: How many are wanted.
    """
    (ends, who), asked, start = wanted, found[0], 0
    full, one = asked.slots.shape[1] - RUN * SLOTS, np.empty(1, np.int32)
    prepare(asked.numbers.shape[1])
    for each in range(ends.size - 1):
        if ends[each] == start:
            continue
        one[0] = each
        order = _blocks_of(lists.begins, one, may)
        for place in range(start, ends[each]):
            row = who[place]
            for block in range(order.size):
                if place == start and block + AHEAD < order.size:
                    prefetch(stock.blocks.codes, order[block + AHEAD])
                if keep_one(stock.blocks, may, (order, block, block + 1), asked, row) > full:
                    make_room(stock.blocks, found, row, k)
        start = ends[each]
    finish()


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
