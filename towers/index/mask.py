"""Sets of ids with a name: made once, combined at will, translated by each index that is asked."""

from collections.abc import Sequence
from enum import Enum

import numpy as np
from jaxtyping import Bool, Int64

from towers.types import DataError

_NONE = np.zeros(0, np.int64)


class How(Enum):
    """How a mask is made of its parts."""

    ids = "ids"
    """Of ids, not of parts."""
    any = "any"
    """What any of its parts holds."""
    all = "all"
    """What all of its parts hold."""
    other = "other"
    """What its one part does not hold."""


class Mask:
    """Ids that a search may return; it never changes, and may be used by any number of indexes and threads.

    To make one sorts the ids. An index translates it when it is first asked with it, and forgets that when the mask is
    dropped: so keep the masks that are asked for again. Combining takes an index one pass over a bit for each video.

    Args:
        ids: What it holds, int64 in any order, [n].

    Raises:
        DataError: Ids that are not whole numbers, or not in one row.

    Example:
        >>> german, adult = Mask(np.array([10, 30])), Mask(np.array([30, 40]))
        >>> (german & ~adult).holds(np.array([10, 20, 30, 40])).tolist()
        [True, False, False, False]
        >>> (german | adult).holds(np.array([10, 20, 30, 40])).tolist()
        [True, False, True, True]
    """

    def __init__(self, ids: np.ndarray) -> None:
        ids = np.asarray(ids)
        if ids.ndim != 1 or (ids.dtype.kind not in "iu" and ids.size):
            raise DataError(f"a mask of {ids.dtype} of shape {ids.shape}; give the ids as int64, one after the other")
        self.how = How.ids
        self.parts: tuple[Mask, ...] = ()
        self.ids: Int64[np.ndarray, " n"] = distinct(ids.astype(np.int64))

    @classmethod
    def any_of(cls, masks: Sequence["Mask"]) -> "Mask":
        """Return the mask of what any of these holds; of none it holds nothing."""
        return cls._made(How.any, *masks)

    @classmethod
    def all_of(cls, masks: Sequence["Mask"]) -> "Mask":
        """Return the mask of what all of these hold; of none it holds everything."""
        return cls._made(How.all, *masks)

    def __and__(self, other: "Mask") -> "Mask":
        return self._made(How.all, self, other)

    def __or__(self, other: "Mask") -> "Mask":
        return self._made(How.any, self, other)

    def __invert__(self) -> "Mask":
        """Return the mask of all other ids, those that nobody knows yet too."""
        return self._made(How.other, self)

    def holds(self, ids: Int64[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
        """Return of each id whether the mask holds it, [m]."""
        if self.how is How.other:
            return ~self.parts[0].holds(ids)
        if self.how is How.ids:
            if not len(self.ids):
                return np.zeros(len(ids), bool)
            return self.ids[np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)] == ids
        combine = np.logical_or if self.how is How.any else np.logical_and
        found = np.full(len(ids), self.how is How.all)
        for part in self.parts:
            combine(found, part.holds(ids), out=found)
        return found

    @classmethod
    def _made(cls, how: How, *parts: "Mask") -> "Mask":
        mask = cls.__new__(cls)
        mask.how, mask.ids = how, _NONE
        # What was combined in the same way stands side by side: so no chain of thousands becomes as many calls.
        same = [part.parts if part.how is how and how is not How.other else (part,) for part in parts]
        mask.parts = tuple(each for part in same for each in part)
        return mask


def distinct(numbers: np.ndarray) -> np.ndarray:
    """Return numbers once each, rising: what np.unique gives, in a hundredth of the time."""
    rising = np.sort(numbers)
    return rising[np.append(True, rising[1:] != rising[:-1])] if len(rising) else rising
