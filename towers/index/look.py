"""Where a search looks: everywhere, into the lists nearest to a query, or at a few vectors alone."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.index.block import TOGETHER, compiled
from towers.index.codes import Blocks, Frame
from towers.index.places import set_of, slots_of
from towers.index.scan import Gone, begin, best_of, scan, shrink

_CHUNK = 128


class Stock(NamedTuple):
    """What is searched.

    Attributes:
        blocks: The vectors.
        frame: How they became bytes.
        places: The slots of ids, see places_of.
        order: All blocks, [blocks].
    """

    blocks: Blocks
    frame: Frame
    places: Int32[np.ndarray, " places"]
    order: Int32[np.ndarray, " blocks"]


class Lists(NamedTuple):
    """Vectors that are near each other stand together.

    Attributes:
        begins: The first block of each list, and one more, [lists + 1].
        centers: The middle of each list, [lists] of them.
        frame: How the centers became bytes.
        order: All blocks of centers.
    """

    begins: Int32[np.ndarray, " lists_1"]
    centers: Blocks
    frame: Frame
    order: Int32[np.ndarray, " blocks"]


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        queries: What to search for, [q, d].
        may: 16 bits to a block, set where a slot may be returned, [blocks].
        offsets: Where each query's excluded ids begin, [q + 1].
        excluded: Ids, all queries one after the other.
        ids: The answer, to be written, [q, k].
        scores: The answer's scores, to be written, [q, k].
    """

    queries: Float32[np.ndarray, "q d"]
    may: UInt16[np.ndarray, " blocks"]
    offsets: Int64[np.ndarray, " q_1"]
    excluded: Int64[np.ndarray, " m"]
    ids: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]


@compiled
def look_everywhere(stock: Stock, request: Request) -> None:
    """Find the true best k of every query."""
    q, k = request.ids.shape
    asked, bounds = begin(request.queries, stock.frame, k)
    found = (asked, bounds, _gone(stock, request))
    together = q // TOGETHER * TOGETHER
    for start in range(0, stock.order.size, _CHUNK):
        order = stock.order[start : start + _CHUNK]
        for row in range(0, together, TOGETHER):
            scan(stock.blocks, request.may, order, found, (row, row + TOGETHER), k)
        for row in range(together, q):
            scan(stock.blocks, request.may, order, found, (row, row + 1), k)
    for row in range(q):
        _answer(stock, request, found, row)


@compiled
def look_in_lists(stock: Stock, lists: Lists, request: Request, probes: int) -> None:
    """Find the best k of every query among the vectors of the lists nearest to it."""
    q, k = request.ids.shape
    centers, doubts = begin(request.queries, lists.frame, probes)
    nearest = (centers, doubts, Gone(np.zeros(q + 1, np.int64), np.zeros(0, np.int32)))
    asked, bounds = begin(request.queries, stock.frame, k)
    found = (asked, bounds, _gone(stock, request))
    for row in range(q):
        scan(lists.centers, lists.centers.alive, lists.order, nearest, (row, row + 1), probes)
        shrink(lists.centers, nearest, row, probes)
        slots = centers.slots[row, : centers.count[row]]
        chosen, scores = best_of(lists.centers, request.queries[row], slots, probes)
        order = _blocks_of(lists, chosen, request.may)
        scan(stock.blocks, request.may, order, found, (row, row + 1), k)
        _answer(stock, request, found, row)


@compiled
def _blocks_of(
    lists: Lists, chosen: Int32[np.ndarray, " m"], may: UInt16[np.ndarray, " blocks"]
) -> Int32[np.ndarray, " n"]:
    """Return the blocks of lists that hold anything that may be returned, one list after the other."""
    room = 0
    for each in chosen:
        room += lists.begins[each + 1] - lists.begins[each]
    order, count = np.empty(room, np.int32), 0
    for each in chosen:
        for block in range(lists.begins[each], lists.begins[each + 1]):
            order[count] = block
            count += may[block] != 0
    return order[:count]


@compiled
def _gone(stock: Stock, request: Request) -> Gone:
    """Return the sets of slots that the queries must not be given."""
    q = request.queries.shape[0]
    begins = np.zeros(q + 1, np.int64)
    if request.excluded.size == 0:
        return Gone(begins, np.zeros(0, np.int32))
    table = np.empty(8 * request.excluded.size + 4 * q, np.int32)
    for row in range(q):
        excluded = request.excluded[request.offsets[row] : request.offsets[row + 1]]
        own = set_of(slots_of(stock.places, stock.blocks.ids, excluded))
        begins[row + 1] = begins[row] + own.size
        table[begins[row] : begins[row + 1]] = own
    return Gone(begins, table[: begins[q]])


@compiled
def _answer(stock: Stock, request: Request, found: tuple, row: int) -> None:
    """Write the best k of a query, and -1 and -inf where there are fewer."""
    k, asked = request.ids.shape[1], found[0]
    shrink(stock.blocks, found, row, k)
    slots, scores = best_of(stock.blocks, request.queries[row], asked.slots[row, : asked.count[row]], k)
    for place in range(k):
        some = place < slots.size
        request.ids[row, place] = stock.blocks.ids[slots[place]] if some else -1
        request.scores[row, place] = scores[place] if some else np.float32(-np.inf)
