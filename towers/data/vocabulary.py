"""What the app calls a thing, and our dense number for it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int64

from towers.types import DataError, UnknownIdError

PAD_ROW = 0
"""Fills up histories; stands for nothing."""
UNKNOWN_ROW = 1
"""Any thing that the vocabulary does not hold."""
FIRST_ROW = 2
"""The row of the first known id."""

_SORT = {True: "string", False: "int64"}


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Ids and their rows, both ways.

    Row 0 pads, row 1 is unknown, and the ids follow in the given order from row 2.
    Ids are int64, exact beyond 2^53, or strings; a vocabulary holds one sort alone.

    Attributes:
        known: The ids in row order from row 2, [n]; int64 or object (strings).

    Example:
        >>> videos = Vocabulary.from_ids(["b", "a"])
        >>> videos.rows(["a", "zebra"]).tolist(), videos.ids(np.array([2])), len(videos)
        ([3, 1], ['b'], 4)
    """

    known: np.ndarray

    @classmethod
    def from_ids(cls, ids: np.ndarray | Sequence[Any]) -> "Vocabulary":
        """Return the vocabulary of distinct ids, in their order.

        Raises:
            DataError: An id appears twice, or is neither int64 nor string.
        """
        array = np.array(as_ids(ids))
        vocabulary = cls(array)
        order = vocabulary._order
        same = array[order][1:] == array[order][:-1]
        if same.any():
            raise DataError(f"id {array[order][1:][same][0]!r} appears twice; a vocabulary needs distinct ids")
        return vocabulary

    def __len__(self) -> int:
        """Return the number of rows, 0 and 1 included."""
        return len(self.known) + FIRST_ROW

    @property
    def is_string(self) -> bool:
        """Whether ids are strings rather than int64."""
        return bool(self.known.dtype == object)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the sort of ids and all ids in order."""
        digest = hashlib.sha256(_SORT[self.is_string].encode())
        if self.is_string:
            for value in self.known:
                text = value.encode()
                digest.update(len(text).to_bytes(8, "little") + text)
        else:
            digest.update(self.known.astype("<i8").tobytes())
        return digest.hexdigest()

    def rows(self, ids: np.ndarray | Sequence[Any], strict: bool = False) -> Int64[np.ndarray, " n"]:
        """Return the row of each id, [n].

        Args:
            ids: int64 or strings, as the vocabulary's own are.
            strict: Raise for an id that is not held; otherwise it gets row 1.

        Raises:
            UnknownIdError: An id is not held and `strict` is set.
            DataError: Strings were given for int64 ids, or the other way round.
        """
        wanted = as_ids(ids, like=self.known)
        if not len(self.known):
            found, hit = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
        else:
            place = self._sorted.searchsorted(wanted)
            hit = (self._sorted.take(place, mode="clip") == wanted).astype(bool, copy=False)
            found = self._sorted_rows.take(place, mode="clip")
        if strict and not hit.all():
            raise UnknownIdError(
                f"id {wanted[~hit][0]!r} is not among the {len(self.known)} known ids; "
                "it came after the data was prepared, or is mistyped"
            )
        found[~hit] = UNKNOWN_ROW
        return found

    def ids(self, rows: np.ndarray | Sequence[int]) -> Int64[np.ndarray, " n"] | list[str]:
        """Return the id at each row: an int64 array [n], or a list of strings.

        Raises:
            UnknownIdError: A row has no id: 0, 1, or outside the vocabulary.
        """
        rows = np.asarray(rows, np.int64)
        outside = (rows < FIRST_ROW) | (rows >= len(self))
        if outside.any():
            raise UnknownIdError(f"row {rows[outside][0]} has no id; rows {FIRST_ROW} to {len(self) - 1} have one")
        return self.ids_of_known(rows)

    def ids_of_known(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"] | list[str]:
        """Return what `ids` does, in a third of the time, of rows from 2 on that must be the vocabulary's."""
        found = self.by_row.take(rows)
        return found.tolist() if self.is_string else found

    @cached_property
    def by_row(self) -> np.ndarray:
        """The id of each row, blank at rows 0 and 1, [rows]."""
        blank = np.zeros_like(self.known, shape=FIRST_ROW)
        return np.concatenate([blank, self.known])

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.known, kind="stable")

    @cached_property
    def _sorted(self) -> np.ndarray:
        in_order: np.ndarray = self.known[self._order]
        return in_order

    @cached_property
    def _sorted_rows(self) -> Int64[np.ndarray, " n"]:
        return self._order.astype(np.int64) + FIRST_ROW


def as_ids(ids: np.ndarray | Sequence[Any], like: np.ndarray | None = None) -> np.ndarray:
    """Return ids as an array of int64 or of strings (objects); int64 arrays as they are.

    Args:
        ids: One list of either sort.
        like: An array of the sort that they must have.

    Raises:
        DataError: Ids of another sort, or of two.
    """
    values = ids if isinstance(ids, np.ndarray) else list(ids)
    if len(values) == 0:
        return np.zeros(0, np.int64 if like is None else like.dtype)
    array = np.asarray(values) if not isinstance(values[0], str) else np.array(values, object)
    if array.dtype.kind in "US":
        array = array.astype(object)
    if array.dtype.kind in "iu":
        array = array.astype(np.int64, copy=False)
    elif array.dtype != object or not all(isinstance(value, str) for value in array):
        raise DataError(f"ids such as {values[0]!r} ({array.dtype}); expected int64 or all strings")
    if like is not None and array.dtype != like.dtype:
        given, own = _SORT[array.dtype == object], _SORT[like.dtype == object]
        raise DataError(f"ids such as {values[0]!r} are {given}, but the dataset's ids are {own}; give {own} ids")
    return array
