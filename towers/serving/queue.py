"""Requests wait in one line that never grows long: who would wait too long is told so at once."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from towers.types import ConfigError, TowersError

Wish = TypeVar("Wish")
Answer = TypeVar("Answer")
_TURN = 32
_ROUNDS, _ROUNDS_S = 4, 0.001
"""How often the loop goes round before a turn, and for how long at most: so many steps of a handler lie between a
request that has arrived and its place in line, or between what was written and its acknowledgement."""


class BusyError(TowersError):
    """Too much is asked at once; asking again a moment later helps."""


class Queue(Generic[Wish, Answer]):
    """Answers in the event loop's own thread, those that came first at first.

    Handlers of all requests that have arrived put them in line, then as many as `_TURN` are answered together before
    the loop looks at its sockets again. Before a turn that is not full the loop goes round `_ROUNDS` times, which takes
    microseconds where nothing else is to be done: a turn takes milliseconds, which whatever is on its way would spend
    waiting, and the more are answered together, the less each costs. So a connection costs no thread, and the line is
    the only place where anybody waits: its length and the age of its head say how busy the service is.

    Args:
        answer_all: Returns for each wish its answer or an error.
        longest: How many may wait; who comes then is refused.
        deadline_ms: Who has waited for longer is refused instead of answered.

    Attributes:
        deadline_s: Who has waited for longer is refused.
        refused: How many were refused since the start.
    """

    def __init__(
        self, answer_all: Callable[[Sequence[Wish]], Sequence[Answer | Exception]], longest: int, deadline_ms: float
    ) -> None:
        if longest < 1 or deadline_ms <= 0:
            raise ConfigError(
                f"queue={longest} and deadline_ms={deadline_ms} make no sense; give 1 or more, and above 0"
            )
        self._answer_all, self._longest, self.deadline_s = answer_all, longest, deadline_ms / 1000
        self._line: deque[tuple[float, Wish, asyncio.Future[Answer]]] = deque()
        self._serving = False
        self.refused = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._line)

    async def answer(self, wish: Wish) -> Answer:
        """Return the answer to a wish, once it is its turn.

        Raises:
            BusyError: Too many wait, or this waited for too long.
        """
        if len(self._line) >= self._longest:
            raise self._busy(f"{len(self._line)} requests wait, which is the most")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._line.append((time.monotonic(), wish, future))
        if not self._serving:
            self._serving = True
            self._begin_rounds(loop)
        return await future

    def _begin_rounds(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon(self._go_round, loop, _ROUNDS, time.monotonic() + _ROUNDS_S)

    def _go_round(self, loop: asyncio.AbstractEventLoop, left: int, until: float) -> None:
        full = len(self._line) >= min(_TURN, self._longest)
        if left and not full and time.monotonic() < until:
            loop.call_soon(self._go_round, loop, left - 1, until)
        else:
            self._serve(loop)

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        turn: list[tuple[Wish, asyncio.Future[Answer]]] = []
        while self._line and len(turn) < _TURN:
            since, wish, future = self._line.popleft()
            if now - since > self.deadline_s:
                _settle(future, self._busy(f"this request waited for {(now - since) * 1000:.0f} ms"))
            elif not future.done():  # or whoever asked has gone
                turn.append((wish, future))
        try:
            answers: Sequence[Answer | Exception] = self._answer_all([wish for wish, _ in turn]) if turn else []
        except Exception as error:
            answers = [error] * len(turn)
        for (_, future), answer in zip(turn, answers, strict=True):
            _settle(future, answer)
        self._serving = bool(self._line)
        if self._serving:
            self._begin_rounds(loop)

    def _busy(self, why: str) -> BusyError:
        self.refused += 1
        return BusyError(f"{why}; ask again a moment later")


def _settle(future: asyncio.Future[Answer], answer: Answer | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
