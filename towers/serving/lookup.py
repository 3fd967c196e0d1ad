"""Ids to rows, for requests, and what is known of a user: by machine code, which waits for memory once for all ids."""

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard, TypeVar

import numpy as np
from jaxtyping import Bool, Int32, Int64

from towers.compiled import compiled, entry
from towers.data import Positives, Vocabulary
from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW, as_ids
from towers.index.places import enter, places_of, slot_of
from towers.types import ConfigError

Id = int | np.integer | str
Ids = Int64[np.ndarray, " n"] | Sequence[Id]
Given = TypeVar("Given")
_INT64 = np.dtype(np.int64)
_NO_IDS = np.zeros(0, np.int64)
ANY_IDS = np.zeros(4, np.int64)[::2]
"""An array like any: every second of four numbers, so that machine code for it asks for no contiguous ones."""


def listed(name: str, ids: Given) -> Given:
    """Return ids that are not one alone; of a text each letter would pass for an id."""
    if isinstance(ids, (str, bytes, int, np.integer)):
        what = "the text " if isinstance(ids, (str, bytes)) else ""
        raise ConfigError(f"{name} is {what}{ids!r}; expected a list of ids, as in [{ids!r}]")
    return ids


def is_int64(ids: Ids) -> TypeGuard[Int64[np.ndarray, " n"]]:
    """Return whether ids are an array of int64 already."""
    return type(ids) is np.ndarray and ids.dtype is _INT64


class Table(NamedTuple):
    """Ids in row order from row 2, [n], and where each stands; see :func:`towers.index.places.places_of`."""

    ids: Int64[np.ndarray, " n"]
    places: Int32[np.ndarray, " places"]


class Lookup:
    """Gives what :meth:`towers.data.Vocabulary.rows` gives, among a million int64 ids in a tenth of the time.

    A search among sorted ids waits for memory some ten times, one after the other; a table once, and for all ids
    together. Strings are looked up by the vocabulary itself.

    Args:
        vocabulary: Whose ids.

    Attributes:
        table: The ids and their table; of no ids where they are strings.
        numbers: Whether ids are int64.

    Example:
        >>> Lookup(Vocabulary.from_ids(np.array([70, 80]))).rows([80, 90]).tolist()
        [3, 1]
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary, self.numbers = vocabulary, not vocabulary.is_string
        ids = np.ascontiguousarray(vocabulary.known) if self.numbers else _NO_IDS
        self.table = Table(ids, places_of(ids))
        self._find = entry(_find, self.table, ANY_IDS)

    def __len__(self) -> int:
        return len(self._vocabulary.known)

    def rows(self, ids: Ids) -> Int64[np.ndarray, " n"]:
        """Return the row of each id, 1 where it is not held, [n].

        Raises:
            DataError: Strings were given for int64 ids, or the other way round.
        """
        return self._find(self.table, self.array(ids)) if self.numbers else self._vocabulary.rows(ids)

    def array(self, ids: Ids) -> Int64[np.ndarray, " n"]:
        """Return int64 ids as an array, [n].

        Raises:
            DataError: Strings were given.
        """
        return ids if is_int64(ids) else as_ids(ids, like=self.table.ids)


class Known(NamedTuple):
    """What a bundle knows of users and videos by their ids.

    Attributes:
        users: Their ids.
        videos: Their ids.
        offsets: Where each user row's events begin, [users + 3].
        watched: Video rows, oldest first within a user, [events].
    """

    users: Table
    videos: Table
    offsets: Int64[np.ndarray, " rows_1"]
    watched: Int32[np.ndarray, " events"]

    @classmethod
    def of(cls, users: Lookup, videos: Lookup, positives: Positives) -> "Known":
        """Return what lookups and histories say."""
        return cls(users.table, videos.table, np.asarray(positives.offsets), np.asarray(positives.video_row))


@compiled
def look_up(
    known: Known, user: int, videos: Int64[np.ndarray, " m"], are_rows: bool
) -> tuple[int, int, Int64[np.ndarray, " rows"]]:
    """Return where a user's events begin and end, and rows: the user's, then of the events' videos, then of others.

    Args:
        known: What is known.
        user: Id of the user.
        videos: Ids of other videos, [m].
        are_rows: Whether rows are given instead of ids.
    """
    row = user if are_rows else _row(known.users, user)
    begin, end = known.offsets[row], known.offsets[row + 1]
    first = 1 + end - begin
    rows = np.empty(first + videos.size, np.int64)
    rows[0] = row
    for event in range(begin, end):
        rows[1 + event - begin] = known.watched[event]
    for place in range(videos.size):
        rows[first + place] = videos[place] if are_rows else _row(known.videos, videos[place])
    return begin, end, rows


@compiled
def first_times(before: Int32[np.ndarray, " n"], rows: Int64[np.ndarray, " m"]) -> Bool[np.ndarray, " m"]:
    """Return whether each row is neither among those of before nor among the rows that come earlier, [m]."""
    size = 4
    while size < 2 * (before.size + rows.size):
        size *= 2
    table, first = np.full(size, -1, np.int32), np.empty(rows.size, np.bool_)
    for row in before:
        enter(table, row)
    for place in range(rows.size):
        first[place] = enter(table, rows[place])
    return first


@compiled
def _row(table: Table, id: int) -> int:  # noqa: A002
    """Return the row of an id, 1 where it is not held."""
    slot = slot_of(table.places, table.ids, id)
    return slot + FIRST_ROW if slot >= 0 else UNKNOWN_ROW


@compiled
def _find(table: Table, ids: Int64[np.ndarray, " m"]) -> Int64[np.ndarray, " m"]:
    """Return the row of each id."""
    rows = np.empty(ids.size, np.int64)
    for place in range(ids.size):
        rows[place] = _row(table, ids[place])
    return rows
