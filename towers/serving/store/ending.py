"""Ending tasks that would go on for ever."""

import asyncio
import logging
from collections.abc import Iterable
from itertools import count

_log = logging.getLogger(__name__)
AGAIN_S, TOLD_AFTER = 0.25, 8
"""After how many seconds a task that has not ended is cancelled again, and after how many times the log tells of it."""


async def end_tasks(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel tasks until they have ended.

    Once is not enough: before Python 3.12 asyncio.wait_for, with which redis-py sends, forgets that it was cancelled
    when what it waited for was done in the same moment, and the task goes on. What a task does when it is cancelled is
    cut short, too, where it takes longer than AGAIN_S and is not shielded.
    """
    going = set(tasks)
    for tried in count():
        if not going:
            return
        if tried == TOLD_AFTER:
            _log.warning("still going, though cancelled %d times: %s", tried, ", ".join(map(repr, going)))
        for task in going:
            task.cancel()
        _, going = await asyncio.wait(going, timeout=AGAIN_S)
