"""Reads a store's changes in order, and all of them again where the store is not what it was."""

import logging

from towers.serving.store.store import Change, ChangeKind, Id, LostChangesError, Store

_log = logging.getLogger(__name__)


class Reader:
    """Where one who follows a store's changes is.

    A store that was put back to a copy of before has lost changes and gives their numbers to others. That it has fewer
    of them shows only until it was given as many again; so what was read last is read again with what comes after it,
    and must still be there, or have made room for a later one of the same video or user.
    """

    def __init__(self) -> None:
        self._last: Change | None = None

    @property
    def number(self) -> int:
        """Number of the last change that is known, 0 before the first."""
        return self._last.number if self._last else 0

    async def read(self, store: Store, most: int) -> list[Change]:
        """Return what came after what is known; from the first change on where the store has lost some of it.

        Nothing is known of them until `done` says so. Where there are none, but some are lost, nothing is known.

        Args:
            store: Whose changes.
            most: How many at once.

        Raises:
            StoreAwayError: It cannot be reached.
        """
        if self._last is not None:
            try:
                return _after(self._last, await store.changes(self.number - 1, most + 1))
            except LostChangesError as error:
                _log.warning("%s; all that it has are read again", error)
                self._last = None
        return await store.changes(0, most)

    def done(self, last: Change) -> None:
        """Take all changes up to one for known."""
        self._last = last

    def knows(self, change: Change) -> bool:
        """Return whether a change is the last that is known."""
        return self._last is not None and _same(self._last, change)

    def saw(self, after: int, changes: list[Change]) -> None:
        """Take those for known that came after a number for another reader, if they go on from what is known here."""
        if changes and (any(map(self.knows, changes)) if self._last else not after):
            self._last = changes[-1]


async def erased_after(store: Store, number: int, most: int) -> list[Change] | None:
    """Return the erasures after a number; None where the store was put back to a copy of before it.

    Args:
        store: Whose changes.
        number: Of a change that it had.
        most: How many changes are read at once.

    Raises:
        StoreAwayError: It cannot be reached.
    """
    erased = list[Change]()
    try:
        while changes := await store.changes(number, most):
            erased += [change for change in changes if change.kind is ChangeKind.erase]
            number = changes[-1].number
    except LostChangesError:
        return None
    return erased


def _after(known: Change, changes: list[Change]) -> list[Change]:
    """Return the changes after a known one.

    Raises:
        LostChangesError: It is not among them, nor one that came later in its place.
    """
    if changes and _same(known, changes[0]):
        return changes[1:]
    # One that came in its place leaves its number free. Where that one is not among these it counts as lost: all are
    # read again, which changes nothing.
    if changes and changes[0].number > known.number and any(_place(each) == _place(known) for each in changes):
        return changes
    raise LostChangesError(f"the store has another change of number {known.number} than the one that is known here")


def _same(one: Change, other: Change) -> bool:
    return (one.number, one.time_ms, _place(one)) == (other.number, other.time_ms, _place(other))


def _place(change: Change) -> tuple[bool, Id]:
    """Return what only the last change of is kept."""
    return change.kind is ChangeKind.erase, change.id
