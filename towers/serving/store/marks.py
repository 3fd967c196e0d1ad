"""Marks in a log whose entries are numbered."""

from towers.types import DataError


def number_of(mark: str) -> int:
    """Return the number that a mark stands for; that of the empty one, the beginning, is 0.

    Raises:
        DataError: It is no mark of this store.
    """
    if not mark:
        return 0
    if not mark.isdecimal():
        raise DataError(f"{mark!r} is no mark of this store's log; give what log returned, or an empty one to begin")
    return int(mark)
