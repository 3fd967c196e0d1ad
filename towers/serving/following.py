"""What a service does again and again: it follows the store's changes and the bundle's pointer, and measures recall.

To follow the store's changes waits for none of the others.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from towers.serving.store import StoreAwayError
from towers.serving.versions import Versions
from towers.types import TowersError, UnwritableError

_log = logging.getLogger(__name__)
_PAUSE_S, _AFTER_ERROR_S, _REOPEN_S = 0.02, 1.0, 5.0
_NOT_FOLLOWED = "what came last could not be followed"


async def follow_changes(versions: Versions) -> None:
    """Have what is served know what others change, also while a version is being adopted, until cancelled."""
    await _again_and_again(versions.catch_up, _PAUSE_S)


async def follow_pointer(versions: Versions, pause_s: float) -> None:
    """Have the bundle's current version served, until cancelled.

    A version that was refused is not tried again until the pointer has moved, unless the store was away, whose changes
    are part of every version, or the disk failed. One whose index cannot be written is opened again, until it can.

    Args:
        versions: Of the bundle.
        pause_s: How often the pointer is looked at.
    """
    pointer = _Pointer(versions)
    await _again_and_again(pointer.look, pause_s)


async def measure_recall(versions: Versions, pause_s: float) -> None:
    """Have the recall of the served index measured, after each pause, until cancelled."""
    await _again_and_again(versions.measure, pause_s, "recall could not be measured")


class _Pointer:
    """What the pointer was when it was last looked at."""

    def __init__(self, versions: Versions) -> None:
        # What was refused at the start is not tried again either.
        seen = versions.current.name if versions.refused is None else versions.refused.name
        self._versions, self._seen, self._not_before = versions, seen, 0.0

    async def look(self) -> None:
        if time.monotonic() < self._not_before:
            return
        before = self._seen
        try:
            self._seen = self._versions.pointed
            if self._seen != before:
                await self._versions.adopt()
                return
        except (StoreAwayError, UnwritableError, OSError):
            self._seen, self._not_before = before, time.monotonic() + _REOPEN_S
            if self._versions.stuck:
                await self._versions.reopen()
            raise
        if self._versions.stuck:
            self._not_before = time.monotonic() + _REOPEN_S
            await self._versions.reopen()


async def _again_and_again(work: Callable[[], Awaitable[None]], pause_s: float, what: str = _NOT_FOLLOWED) -> None:
    """Do it, after each pause, until cancelled; the same trouble is said once."""
    said = ""
    while True:
        await asyncio.sleep(max(pause_s, _AFTER_ERROR_S) if said else pause_s)
        try:
            await work()
            said = ""
        except Exception as error:  # whatever it is, what comes later must be followed
            if not isinstance(error, TowersError | OSError):
                _log.exception("%s; it is tried again", what)
            elif str(error) != said:
                _log.warning("%s: %s", what, error)
            said = str(error) or repr(error)
