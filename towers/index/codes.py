"""Vectors as bytes, 16 to a block: what a search reads, a quarter of what float32 takes."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int32, Int64, UInt8, UInt16

from towers.compiled import compiled
from towers.index.instructions import SLOTS, ones
from towers.index.places import slot_of
from towers.index.products import BYTES

_LINE = 64
_HIGHEST = 127
_SAMPLE = 65_536


class Frame(NamedTuple):
    """How numbers become bytes, and how far from the truth a score by bytes may be.

    A coordinate becomes (x - center) / step, and a vector of such coordinates bytes × scale. An inner product
    then is sum(byte × (query × step)) × scale, up to a constant of the query. How wrong it is can be at most the
    vector's scale × (reach × length of query × step + norm × length of what the query's own bytes leave).

    Attributes:
        center: About the mean of each coordinate, [d].
        step: About the standard deviation of each coordinate, [d]: one of large numbers takes nothing from others.
        most: Over all vectors: reach, the length of what the bytes leave, in scales; norm, the length of the
            bytes; and the length of the vector, [3].
    """

    center: Float32[np.ndarray, " d"]
    step: Float32[np.ndarray, " d"]
    most: Float64[np.ndarray, " 3"]


class Blocks(NamedTuple):
    """Vectors in blocks of 16 slots; a slot that holds none is not alive.

    Attributes:
        codes: Bytes + 128: four dimensions of each of a block's vectors, then the next four, [blocks, width * 16].
        scales: What a byte of each vector is worth, [slots].
        alive: 16 bits to a block, set where a search may return what the slot holds, [blocks].
        vectors: The vectors themselves, [slots, d].
        ids: What the caller calls them, [slots]; -1 where there is none.
    """

    codes: UInt8[np.ndarray, "blocks bytes"]
    scales: Float32[np.ndarray, " slots"]
    alive: UInt16[np.ndarray, " blocks"]
    vectors: Float32[np.ndarray, "slots d"]
    ids: Int64[np.ndarray, " slots"]


def frame_of(vectors: Float32[np.ndarray, "n d"]) -> Frame:
    """Return the frame that suits vectors; fill widens it by what it writes."""
    sample = vectors[:: -(-len(vectors) // _SAMPLE) or 1].astype(np.float64)
    if not len(sample):
        nothing = np.zeros(vectors.shape[1], np.float32)
        return Frame(nothing, nothing, np.zeros(3))
    spread = sample.std(axis=0).astype(np.float32)
    return Frame(sample.mean(axis=0).astype(np.float32), np.where(spread > 0, spread, np.float32(1)), np.zeros(3))


def empty_blocks(slots: int, dim: int) -> Blocks:
    """Return blocks that hold nothing; the number of slots is rounded up to whole blocks."""
    blocks = -(-slots // SLOTS)
    codes = aligned((blocks, -(-dim // BYTES) * BYTES * SLOTS), np.uint8)
    scales, vectors = aligned((blocks * SLOTS,), np.float32), aligned((blocks * SLOTS, dim), np.float32)
    return Blocks(codes, scales, np.zeros(blocks, np.uint16), vectors, np.full(blocks * SLOTS, -1))


def blocks_of(
    vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], slots: Int64[np.ndarray, " n"] | None = None
) -> tuple[Blocks, Frame]:
    """Return blocks that hold vectors in the slots given, or one after the other, and their frame."""
    slots = np.arange(len(vectors)) if slots is None else slots
    frame, blocks = frame_of(vectors), empty_blocks(int(slots.max(initial=-1)) + 1, vectors.shape[1])
    fill(blocks, frame, slots, vectors, ids)
    return blocks, frame


def aligned(shape: tuple[int, ...], kind: type[np.generic]) -> np.ndarray:
    """Return zeros that begin at a cache line, so that no block is read across two."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    room = np.zeros(size + _LINE, np.uint8)
    begin = -room.ctypes.data % _LINE
    return room[begin : begin + size].view(kind).reshape(shape)


@compiled
def fill(
    blocks: Blocks,
    frame: Frame,
    slots: Int64[np.ndarray, " m"],
    vectors: Float32[np.ndarray, "m d"],
    ids: Int64[np.ndarray, " m"],
) -> None:
    """Write vectors and their names into slots, which come alive last; the frame's bounds grow with them."""
    dim = vectors.shape[1]
    offset = np.empty(dim, np.float64)
    for row in range(slots.size):
        block, place = slots[row] // SLOTS, slots[row] % SLOTS
        highest = length = 0.0
        for axis in range(dim):
            number = np.float64(vectors[row, axis])
            offset[axis] = (number - frame.center[axis]) / frame.step[axis]
            highest = max(highest, abs(offset[axis]))
            length += number * number
        scale = np.float32(highest / _HIGHEST)
        left = norm = 0.0
        for axis in range(dim):
            exact = offset[axis] / scale if scale > 0 else 0.0
            code = np.rint(exact)
            left += (exact - code) ** 2
            norm += code * code
            where = (axis // BYTES * SLOTS + place) * BYTES + axis % BYTES
            blocks.codes[block, where] = np.uint8(np.int32(code) + _HIGHEST + 1)
            blocks.vectors[slots[row], axis] = vectors[row, axis]
        blocks.scales[slots[row]], blocks.ids[slots[row]] = scale, ids[row]
        for place, value in enumerate((left, norm, length)):
            frame.most[place] = max(frame.most[place], np.sqrt(value))
    set_bits(blocks.alive, slots)


def gathered(
    vectors: Float32[np.ndarray, "slots d"], slots: Int64[np.ndarray, " n"], more: Float32[np.ndarray, "m d"]
) -> Float32[np.ndarray, "n_m d"]:
    """Return the vectors in some slots, and more behind them; other threads run meanwhile."""
    # NumPy's memory is in pages of 2 MB: to give numba's back, in pages of 4 kB, would hold Python's lock for long.
    both = np.empty((len(slots) + len(more), vectors.shape[1]), np.float32)
    _gather(vectors, slots, more, both)
    return both


@compiled
def _gather(
    vectors: Float32[np.ndarray, "slots d"],
    slots: Int64[np.ndarray, " n"],
    more: Float32[np.ndarray, "m d"],
    both: Float32[np.ndarray, "n_m d"],
) -> None:
    for row in range(both.shape[0]):
        for axis in range(both.shape[1]):
            both[row, axis] = vectors[slots[row], axis] if row < slots.size else more[row - slots.size, axis]


@compiled
def set_bits(words: UInt16[np.ndarray, " blocks"], slots: Int64[np.ndarray, " m"]) -> None:
    """Set the bits of slots, those below 0 left out, in words of one bit per slot."""
    for slot in slots:
        if slot >= 0:
            words[slot // SLOTS] |= np.uint16(1 << (slot % SLOTS))


@compiled
def clear_bits(words: UInt16[np.ndarray, " blocks"], slots: Int32[np.ndarray, " m"]) -> int:
    """Clear the bits of slots, those below 0 left out; return how many were set."""
    count = 0
    for slot in slots:
        if slot >= 0:
            bit = np.uint16(1 << (slot % SLOTS))
            count += (words[slot // SLOTS] & bit) != 0
            words[slot // SLOTS] &= ~bit
    return count


@compiled
def without_ids(
    words: UInt16[np.ndarray, " blocks"],
    places: Int32[np.ndarray, " places"],
    ids: Int64[np.ndarray, " slots"],
    unwanted: Int64[np.ndarray, " m"],
) -> UInt16[np.ndarray, " blocks"]:
    """Return words of one bit per slot less those of some ids; `places` is the table of `ids`, see places_of."""
    left = words.copy()
    for each in unwanted:
        slot = slot_of(places, ids, each)
        if slot >= 0:
            left[slot // SLOTS] &= ~np.uint16(1 << (slot % SLOTS))
    return left


@compiled
def narrowed(
    words: UInt16[np.ndarray, " blocks"], alive: UInt16[np.ndarray, " blocks"]
) -> tuple[UInt16[np.ndarray, " blocks"], int, int]:
    """Return the bits that are set in both, how many they are, and in how many blocks."""
    both, slots, blocks = np.empty_like(alive), 0, 0
    for block in range(alive.size):
        both[block] = words[block] & alive[block]
        slots += ones(both[block])
        blocks += both[block] != 0
    return both, slots, blocks


@compiled
def slots_in(words: UInt16[np.ndarray, " blocks"], count: int) -> Int32[np.ndarray, " count"]:
    """Return the slots whose bits are set, rising; count says how many they are."""
    slots, place = np.empty(count, np.int32), 0
    for block in range(words.size):
        word = np.int32(words[block])
        while word:
            lowest = word & -word
            slots[place] = block * SLOTS + ones(np.uint16(lowest - 1))
            place += 1
            word ^= lowest
    return slots


@compiled
def blocks_in(words: UInt16[np.ndarray, " blocks"], count: int) -> Int32[np.ndarray, " count"]:
    """Return the blocks that have a bit set, rising; count says how many they are."""
    blocks, place = np.empty(count + 1, np.int32), 0
    for block in range(words.size):
        blocks[place] = block
        place += words[block] != 0
    return blocks[:count]
