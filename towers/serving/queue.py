"""Requests wait in one line that never grows long: who would wait too long is told so at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from towers.types import ConfigError, TowersError

Answer = TypeVar("Answer")
_TURN = 16


class BusyError(TowersError):
    """Too much is asked at once; asking again a moment later helps."""


class Queue(Generic[Answer]):
    """Answers one after the other in the event loop's own thread, those that came first at first.

    Handlers of all requests that have arrived put them in line, then as many as `_TURN` are answered before the loop
    looks at its sockets again. So a connection costs no thread, and the line is the only place where anybody waits:
    its length and the age of its head say how busy the service is.

    Args:
        longest: How many may wait; who comes then is refused.
        deadline_ms: Who has waited for longer is refused instead of answered.

    Attributes:
        refused: How many were refused since the start.
    """

    def __init__(self, longest: int, deadline_ms: float) -> None:
        if longest < 1 or deadline_ms <= 0:
            raise ConfigError(
                f"queue={longest} and deadline_ms={deadline_ms} make no sense; give 1 or more, and above 0"
            )
        self._longest, self._deadline_s = longest, deadline_ms / 1000
        self._line: deque[tuple[float, Callable[[], Answer], asyncio.Future[Answer]]] = deque()
        self._serving = False
        self.refused = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._line)

    async def answer(self, work: Callable[[], Answer]) -> Answer:
        """Return what work returns, once it is its turn.

        Raises:
            BusyError: Too many wait, or this waited for too long.
        """
        if len(self._line) >= self._longest:
            raise self._busy(f"{len(self._line)} requests wait, which is the most")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._line.append((time.monotonic(), work, future))
        if not self._serving:
            self._serving = True
            loop.call_soon(self._serve, loop)
        return await future

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        for _ in range(min(_TURN, len(self._line))):
            since, work, future = self._line.popleft()
            if future.done():  # whoever asked has gone
                continue
            waited = time.monotonic() - since
            if waited > self._deadline_s:
                future.set_exception(self._busy(f"this request waited for {waited * 1000:.0f} ms"))
                continue
            try:
                future.set_result(work())
            except Exception as error:
                future.set_exception(error)
        self._serving = bool(self._line)
        if self._serving:
            loop.call_soon(self._serve, loop)

    def _busy(self, why: str) -> BusyError:
        self.refused += 1
        return BusyError(f"{why}; ask again a moment later")
