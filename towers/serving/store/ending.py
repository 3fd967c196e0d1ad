"""Ending tasks that would go on for ever."""

import asyncio
from collections.abc import Iterable

AGAIN_S = 0.25
"""After how long a task that has not ended is cancelled again."""


async def end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12 asyncio.wait_for, with which redis-py sends, forgets that it was cancelled
    when what it waited for was done in the same moment, and the task goes on.
    """
    going = set(tasks)
    while going:
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_S)
