"""Asking together: what comes while an answer is awaited shares the next question."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
MOST = 1000
"""How much is asked at once, unless one caller asks for more."""


class Lane(Generic[T]):
    """Sends one question at a time, of all who wait.

    Args:
        send: Returns one answer for each thing asked.
    """

    def __init__(self, send: Callable[[Sequence[T]], Awaitable[Sequence[Any]]]) -> None:
        self._send = send
        self._asked: deque[tuple[Sequence[T], asyncio.Future[Sequence[Any]]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(self, things: Sequence[T]) -> Sequence[Any]:
        """Return one answer for each thing.

        Raises:
            Exception: What `send` raised; it fails all who wait.
        """
        future: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()
        self._asked.append((things, future))
        if not self._task:
            self._task = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._asked:
                await self._ask_some()
        finally:
            self._task = None

    async def _ask_some(self) -> None:
        group = [self._asked.popleft()]
        n = len(group[0][0])
        while self._asked and n + len(self._asked[0][0]) <= MOST:
            group.append(self._asked.popleft())
            n += len(group[-1][0])
        try:
            answers = await self._send([thing for things, _ in group for thing in things])
        except Exception as error:
            waiting = [future for _, future in (*group, *self._asked)]
            self._asked.clear()
            for future in waiting:
                if not future.done():  # its caller was cancelled
                    future.set_exception(error)
            return
        begin = 0
        for things, future in group:
            if not future.done():
                future.set_result(answers[begin : begin + len(things)])
            begin += len(things)
