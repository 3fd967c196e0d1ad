"""What masks mean in an index: a bit for each of its places, of each mask of ids found once."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int32, Int64, UInt16

from towers.index.mask import How, Mask, distinct

Words = UInt16[np.ndarray, " _"]
"""16 places to a word."""
Places = Int32[np.ndarray, " _"]
"""Places themselves, rising: takes less than words where they are few."""


def combined(mask: Mask, found: Callable[[Mask], Words | Places], words: int) -> Words:
    """Return the bits of a mask.

    Args:
        mask: Whose.
        found: Says of a mask of ids where these are.
        words: How many words there are.

    Returns:
        The bits, not to be written to.
    """
    if mask.how is How.ids:
        return as_words(found(mask), words)
    if mask.how is How.other:
        return ~combined(mask.parts[0], found, words)
    if mask.how is How.any:
        either = np.zeros(words, np.uint16)
        for part in mask.parts:
            places = found(part) if part.how is How.ids else combined(part, found, words)
            _add(either, places)
        return either
    both = np.full(words, 0xFFFF, np.uint16)
    for part in mask.parts:
        both &= combined(part, found, words)
    return both


class Bits:
    """Remembers where the ids of masks are, as long as the masks live.

    Args:
        find: Returns where ids are, of which some may not be: as words, or as places, -1 for what is not there.
        words: How many words there are.
    """

    def __init__(self, find: Callable[[Int64[np.ndarray, " m"]], Words | Places], words: int) -> None:
        self._find, self._words = find, words
        self._known: WeakKeyDictionary[Mask, Words | Places] = WeakKeyDictionary()

    def of(self, mask: Mask) -> Words | Places:
        """Return what a mask holds: words, or places where that takes less; not to be written to."""
        return self._found(mask) if mask.how is How.ids else combined(mask, self._found, self._words)

    def of_ids(self, ids: Int64[np.ndarray, " m"]) -> Words | Places:
        """Return where ids are: words, or places where that takes less."""
        found = self._find(ids)
        if found.dtype == np.uint16 or 2 * len(found) >= self._words:
            return as_words(found, self._words)
        return distinct(found[found >= 0])

    def masks(self) -> list[Mask]:
        """Return the masks of ids that are known here."""
        # One call that no thread can come between: others may be adding masks.
        return [mask for known in self._known.keyrefs() if (mask := known()) is not None]

    def _found(self, mask: Mask) -> Words | Places:
        found = self._known.get(mask)
        if found is None:
            found = self._known[mask] = self.of_ids(mask.ids)
        return found


def as_words(found: Words | Places, words: int) -> Words:
    """Return what was found as words."""
    if found.dtype == np.uint16:
        return found
    bits = np.zeros(words, np.uint16)
    _add(bits, found)
    return bits


def _add(bits: Words, found: Words | Places) -> None:
    """Set bits, in place."""
    if found.dtype == np.uint16:
        np.bitwise_or(bits, found, out=bits)
        return
    from towers.index.codes import set_bits

    set_bits(bits, found)
