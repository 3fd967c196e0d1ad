"""The machine code of recent vectors: to write them, and to find them by id or by query while others are written."""

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.codes import clear_bits, fill, set_bits
from towers.index.instructions import SLOTS
from towers.index.look import Stock, look_through
from towers.index.places import home, set_of, slots_of
from towers.index.request import Request
from towers.index.scan import Gone, begin


@compiled
def lay(
    stock: Stock,
    before: Int32[np.ndarray, " slots"],
    alive: UInt16[np.ndarray, " blocks"],
    what: tuple[int, Float32[np.ndarray, "m d"], Int64[np.ndarray, " m"]],
) -> int:
    """Write vectors into unused slots, the first of which is given; return how many have lost their slot to them."""
    used, vectors, ids = what
    slots = np.arange(used, used + ids.size)
    same = slots_of(stock.places, stock.blocks.ids, ids)
    before[used : used + ids.size] = same
    fill(stock.blocks, stock.frame, slots, vectors, ids)
    gone = clear_bits(alive, same)
    set_bits(alive, slots)
    return gone


@compiled
def link(places: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"], first: int, stop: int) -> None:
    """Let the ids of some slots be found there from now on."""
    for slot in range(first, stop):
        place = home(ids[slot], places.size)
        while places[place] >= 0 and ids[places[place]] != ids[slot]:
            place = (place + 1) & (places.size - 1)
        places[place] = slot


@compiled
def alive_slots(
    stock: Stock,
    before: Int32[np.ndarray, " slots"],
    alive: UInt16[np.ndarray, " blocks"],
    known: int,
    wanted: Int64[np.ndarray, " m"],
) -> Int32[np.ndarray, " m"]:
    """Return where ids were alive when `known` slots were used, -1 for one that was not."""
    slots = slots_of(stock.places, stock.blocks.ids, wanted)
    for row in range(slots.size):
        while slots[row] >= known:
            slots[row] = before[slots[row]]
        if slots[row] >= 0 and not alive[slots[row] // SLOTS] & np.uint16(1 << (slots[row] % SLOTS)):
            slots[row] = -1
    return slots


@compiled
def look_at_recent(stock: Stock, request: Request, before: Int32[np.ndarray, " slots"], known: int) -> None:
    """Find the true best k of every query, as it was when `known` slots were used."""
    q, k = request.ids.shape
    asked, bounds = begin(request.queries, stock.frame, k)
    table = np.empty(4 * (request.offsets[q] - request.offsets[0]) + 4 * q, np.int32)
    begins = np.zeros(q + 1, np.int64)
    for row in range(q):
        excluded = request.excluded[request.offsets[row] : request.offsets[row + 1]]
        own = set_of(alive_slots(stock, before, request.may, known, excluded))
        begins[row + 1] = begins[row] + own.size
        table[begins[row] : begins[row + 1]] = own
    look_through(stock, request, (asked, bounds, Gone(begins, table, np.zeros(q, np.int64))))


@compiled
def best_of_both(
    one: tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]],
    two: tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]],
) -> tuple[Int64[np.ndarray, "q k"], Float32[np.ndarray, "q k"]]:
    """Return the best k of two lists of ids and scores for each query, equal scores by the lower id."""
    ids, scores = np.empty_like(one[0]), np.empty_like(one[1])
    for row in range(ids.shape[0]):
        left = right = 0
        for place in range(ids.shape[1]):
            high, other = one[1][row, left], two[1][row, right]
            if high > other or (high == other and one[0][row, left] <= two[0][row, right]):
                ids[row, place], scores[row, place] = one[0][row, left], high
                left += 1
            else:
                ids[row, place], scores[row, place] = two[0][row, right], other
                right += 1
    return ids, scores
