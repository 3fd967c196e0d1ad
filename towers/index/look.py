"""A search of all vectors, or of a few alone; the answer is the true best k."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.block import TOGETHER
from towers.index.codes import Blocks, Frame, blocks_of
from towers.index.guess import guess
from towers.index.instructions import SLOTS
from towers.index.places import among, places_of, set_of, slots_of
from towers.index.request import Request
from towers.index.scan import AHEAD, Found, Gone, begin, best_of, scan, shrink

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


def stock_of(
    vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], slots: Int64[np.ndarray, " n"] | None = None
) -> Stock:
    """Return the stock that holds vectors in the slots given, or one after the other."""
    slots = np.arange(len(vectors)) if slots is None else slots
    blocks, frame = blocks_of(vectors, ids, slots)
    return Stock(blocks, frame, places_of(blocks.ids, slots), np.arange(len(blocks.alive), dtype=np.int32))


@compiled
def look_everywhere(stock: Stock, request: Request) -> None:
    """Find the true best k of every query."""
    asked, bounds = begin(request.queries, stock.frame, request.ids.shape[1])
    look_through(stock, request, (asked, bounds, gone_of(stock, request)))


@compiled
def look_through(stock: Stock, request: Request, found: Found) -> None:
    """Look at all vectors for every query, and answer."""
    q, k = request.ids.shape
    asked = found[0]
    alone = stock.order, stock.order[AHEAD:]
    if q == 1:
        scan(stock.blocks, request.may, alone, found, (0, 1), k)
    else:
        guess(stock.blocks, request.may, stock.order, found, k)
        _scan_for_all(stock, request.may, found, k)
    for row in range(q):
        if not shrink(stock.blocks, found, row, k):
            asked.least[row], asked.kept[row], found[2].checked[row] = -np.inf, 0, 0
            scan(stock.blocks, request.may, alone, found, (row, row + 1), k)
            shrink(stock.blocks, found, row, k)
        answer(stock, request, found, row)


@compiled
def _scan_for_all(stock: Stock, may: UInt16[np.ndarray, " blocks"], found: Found, k: int) -> None:
    """Scan all blocks for all queries, some blocks at a time: so these are near when the next queries look at them."""
    q = found[1].queries.shape[0]
    for start in range(0, stock.order.size, _CHUNK):
        order, after = stock.order[start : start + _CHUNK], stock.order[start + _CHUNK : start + 2 * _CHUNK]
        for first in range(0, q, TOGETHER):
            last = min(first + TOGETHER, q)
            ahead = after[first * after.size // q : last * after.size // q]
            scan(stock.blocks, may, (order, ahead), found, (first, last), k)


@compiled
def look_at(stock: Stock, request: Request, slots: Int32[np.ndarray, " m"]) -> None:
    """Find the true best k of every query among a few slots, all different."""
    q, k = request.ids.shape
    gone = gone_of(stock, request)
    left = np.empty(slots.size, np.int32)
    for row in range(q):
        own, count = gone.table[gone.begins[row] : gone.begins[row + 1]], 0
        for slot in slots:
            left[count] = slot
            may = request.may[slot // SLOTS] >> (slot % SLOTS) & 1
            count += may and not (own.size and among(own, slot))
        _write(stock, request, row, best_of(stock.blocks, request.queries[row], left[:count], k))


@compiled
def gone_of(stock: Stock, request: Request) -> Gone:
    """Return the sets of slots that the queries must not be given."""
    q = request.queries.shape[0]
    begins = np.zeros(q + 1, np.int64)
    if request.excluded.size == 0:
        return Gone(begins, np.zeros(0, np.int32), np.zeros(q, np.int64))
    table = np.empty(4 * (request.offsets[q] - request.offsets[0]) + 4 * q, np.int32)
    for row in range(q):
        excluded = request.excluded[request.offsets[row] : request.offsets[row + 1]]
        own = set_of(slots_of(stock.places, stock.blocks.ids, excluded))
        begins[row + 1] = begins[row] + own.size
        for place in range(own.size):
            table[begins[row] + place] = own[place]
    return Gone(begins, table[: begins[q]], np.zeros(q, np.int64))


@compiled
def answer(stock: Stock, request: Request, found: Found, row: int) -> None:
    """Write the best k of what has been found for a query, and was shrunk."""
    asked, k = found[0], request.ids.shape[1]
    slots = asked.slots[row, : asked.kept[row]]
    _write(stock, request, row, best_of(stock.blocks, request.queries[row], slots, k))


@compiled
def _write(stock: Stock, request: Request, row: int, best: tuple[Any, Any]) -> None:
    """Write slots and scores as the answer to a query, and -1 and -inf where they are fewer."""
    slots, scores = best
    for place in range(request.ids.shape[1]):
        some = place < slots.size
        request.ids[row, place] = stock.blocks.ids[slots[place]] if some else -1
        request.scores[row, place] = scores[place] if some else np.float32(-np.inf)
