"""What masks mean among recent vectors: slots are only ever added, so each is asked about once."""

from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Int64

from towers.index.bits import Words, combined
from towers.index.mask import Mask


class Named:
    """Remembers which slots masks hold, as long as the masks live; moments that share slots share it.

    Args:
        ids: Of the slots, those that are used for good, [slots].
        words: How many words of 16 slots there are.
    """

    def __init__(self, ids: Int64[np.ndarray, " slots"], words: int) -> None:
        self._ids, self._words = ids, words
        self._known: WeakKeyDictionary[Mask, tuple[int, Words]] = WeakKeyDictionary()

    def of(self, mask: Mask, used: int) -> Words:
        """Return the bits of the slots that a mask holds, right for those that are used; not to be written to."""
        return combined(mask, lambda part: self._found(part, used), self._words)

    def _found(self, mask: Mask, used: int) -> Words:
        known, words = self._known.get(mask, (0, None))
        if words is None or known < used:
            flags = np.zeros(16 * self._words, bool)
            flags[known:used] = mask.holds(self._ids[known:used])
            more = np.packbits(flags, bitorder="little").view(np.uint16)
            words = more if words is None else words | more
            # Whoever comes second with less only has others ask again.
            self._known[mask] = (used, words)
        return words
