"""Where the vector of an id stands: a hash table from ids to slots."""

import numpy as np
from jaxtyping import Int32, Int64, UInt16

from towers.compiled import compiled

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: its multiples' high bits spread even ids that differ little."""


def places_of(ids: Int64[np.ndarray, " slots"]) -> Int32[np.ndarray, " places"]:
    """Return the table of the slots of ids; a slot of id -1 is in no place.

    Example:
        >>> table = places_of(np.array([70, -1, 2**60]))
        >>> slots_of(table, np.array([70, -1, 2**60]), np.array([2**60, 5, 70])).tolist()
        [2, -1, 0]
    """
    size = 2 ** max(1, int(1.5 * len(ids))).bit_length()
    table = np.full(size, -1, np.int32)
    _place(table, ids)
    return table


@compiled
def home(key: int, size: int) -> np.int64:
    """Return where in a table of a power of 2 to begin to look."""
    return np.int64((np.uint64(key) * _SPREAD) >> np.uint64(32)) & (size - 1)


@compiled
def _place(table: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"]) -> None:
    for slot in range(ids.size):
        if ids[slot] >= 0:
            place = home(ids[slot], table.size)
            while table[place] >= 0:
                place = (place + 1) & (table.size - 1)
            table[place] = slot


@compiled
def slots_of(
    table: Int32[np.ndarray, " places"], ids: Int64[np.ndarray, " slots"], wanted: Int64[np.ndarray, " m"]
) -> Int32[np.ndarray, " m"]:
    """Return the slots of ids, -1 for one that is not there."""
    slots = np.empty(wanted.size, np.int32)
    for row in range(wanted.size):
        place = home(wanted[row], table.size)
        slot = table[place]  # read once: a writer may put another id there meanwhile
        while slot >= 0 and ids[slot] != wanted[row]:
            place = (place + 1) & (table.size - 1)
            slot = table[place]
        slots[row] = slot
    return slots


@compiled
def bits_of(ids: Int64[np.ndarray, " slots"], wanted: Int64[np.ndarray, " m"]) -> UInt16[np.ndarray, " blocks"]:
    """Return one bit per slot, set where its id is wanted: for many ids, of no wide range, faster than slots_of."""
    lowest = wanted.min()
    known = np.zeros(wanted.max() - lowest + 1, np.uint8)
    for each in wanted:
        known[each - lowest] = 1
    words = np.zeros((ids.size + 15) // 16, np.uint16)
    for slot in range(ids.size):
        place = ids[slot] - lowest
        if 0 <= place < known.size:
            words[slot // 16] |= np.uint16(known[place] << (slot % 16))
    return words


@compiled
def set_of(slots: Int32[np.ndarray, " m"]) -> Int32[np.ndarray, " places"]:
    """Return a hash table of slots, those below 0 left out; empty when there are none."""
    size = 4
    while size < 2 * slots.size:
        size *= 2
    table = np.empty(size if slots.size else 0, np.int32)
    table[:] = -1
    for slot in slots:
        place = home(slot, size)
        while slot >= 0 and table[place] >= 0 and table[place] != slot:
            place = (place + 1) & (size - 1)
        if slot >= 0:
            table[place] = slot
    return table


@compiled
def among(table: Int32[np.ndarray, " places"], slot: int) -> bool:
    """Return whether a slot is in a table of set_of that is not empty."""
    place = home(slot, table.size)
    while table[place] >= 0:
        if table[place] == slot:
            return True
        place = (place + 1) & (table.size - 1)
    return False
