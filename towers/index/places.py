"""Where an id stands among others: a hash table from any int64 ids to their slots; and sets of slots."""

import numpy as np
from jaxtyping import Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.instructions import SLOTS

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: the upper bits of products with it tell ids apart that differ little."""


def places_of(
    ids: Int64[np.ndarray, " slots"], slots: Int64[np.ndarray, " n"] | None = None
) -> Int32[np.ndarray, " places"]:
    """Return the table of the slots of ids: 6 to 12 bytes an id, in which an id is found at its place or soon after.

    Args:
        ids: What stands in each slot, any int64, [slots].
        slots: Those that hold an id, all different, [n]; None where all do.

    Example:
        >>> ids = np.array([70, -1, -(2**60)])
        >>> slots_of(places_of(ids), ids, np.array([-(2**60), 5, -1])).tolist()
        [2, -1, 1]
        >>> slots_of(places_of(ids, np.array([0, 2])), ids, np.array([70, -1])).tolist()
        [0, -1]
    """
    table = np.full(2 ** max(1, int(1.5 * len(ids))).bit_length(), -1, np.int32)
    _place(table, ids, np.arange(len(ids)) if slots is None else slots)
    return table


@compiled
def home(key: int, size: int) -> np.int64:
    """Return where in a table of at most 2^32 places to begin to look."""
    high = (np.uint64(key) * _SPREAD) >> np.uint64(32)
    return np.int64((high * np.uint64(size)) >> np.uint64(32))


@compiled
def _place(
    table: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"], slots: Int64[np.ndarray, " n"]
) -> None:
    for slot in slots:
        place = home(ids[slot], table.size)
        while table[place] >= 0:
            place = (place + 1) & (table.size - 1)
        table[place] = slot


@compiled
def slot_of(table: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"], wanted: int) -> np.int32:
    """Return the slot of an id, -1 for one that is not there."""
    place = home(wanted, table.size)
    slot = table[place]  # read once: a writer may put another id there meanwhile
    while slot >= 0 and ids[slot] != wanted:
        place = (place + 1) & (table.size - 1)
        slot = table[place]
    return slot


@compiled
def slots_of(
    table: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"], wanted: Int64[np.ndarray, " m"]
) -> Int32[np.ndarray, " m"]:
    """Return the slots of ids, -1 for one that is not there."""
    slots = np.empty(wanted.size, np.int32)
    for row in range(wanted.size):
        slots[row] = slot_of(table, ids, wanted[row])
    return slots


@compiled
def bits_of(ids: Int64[np.ndarray, " slots"], wanted: Int64[np.ndarray, " m"]) -> UInt16[np.ndarray, " blocks"]:
    """Return one bit per slot, set where its id is wanted: for many ids, of no wide range, faster than slots_of."""
    lowest = wanted.min()
    known = np.zeros(wanted.max() - lowest + 1, np.uint8)
    for each in wanted:
        known[each - lowest] = 1
    words = np.empty((ids.size + SLOTS - 1) // SLOTS, np.uint16)
    for block in range(words.size):
        word = np.int64(0)
        for slot in range(block * SLOTS, min((block + 1) * SLOTS, ids.size)):
            place = ids[slot] - lowest
            if 0 <= place < known.size:
                word |= np.int64(known[place]) << (slot % SLOTS)
        words[block] = word
    return words


@compiled
def set_of(slots: Int32[np.ndarray, " m"]) -> Int32[np.ndarray, " places"]:
    """Return a hash table of slots, those below 0 left out; empty when there are none."""
    size, count = 4, 0
    for slot in slots:
        count += slot >= 0
    while size < 2 * count:
        size *= 2
    table = np.empty(size if count else 0, np.int32)
    table[:] = -1
    for slot in slots:
        if slot >= 0:
            enter(table, slot)
    return table


@compiled
def enter(table: Int32[np.ndarray, " places"], slot: int) -> bool:
    """Put a slot into a table of set_of, which must have room; return whether it was not there."""
    place = home(slot, table.size)
    while table[place] >= 0:
        if table[place] == slot:
            return False
        place = (place + 1) & (table.size - 1)
    table[place] = slot
    return True


@compiled
def among(table: Int32[np.ndarray, " places"], slot: int) -> bool:
    """Return whether a slot is in a table of set_of that is not empty."""
    place = home(slot, table.size)
    while table[place] >= 0:
        if table[place] == slot:
            return True
        place = (place + 1) & (table.size - 1)
    return False
