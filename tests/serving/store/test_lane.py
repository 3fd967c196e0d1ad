"""Who waits at the same time asks together."""

import asyncio
from collections.abc import Sequence

import pytest

from towers.serving.store.lane import MOST, Lane


def test_what_comes_meanwhile_shares_the_next_question() -> None:
    sent: list[list[int]] = []

    async def send(things: Sequence[int]) -> list[int]:
        sent.append(list(things))
        await asyncio.sleep(0)
        return [thing * 10 for thing in things]

    async def scenario() -> None:
        lane = Lane[int](send)
        first = asyncio.create_task(lane.ask([1]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [*await asyncio.gather(lane.ask([2, 3]), lane.ask([]), lane.ask([4]))] == [[20, 30], [], [40]]
        assert await first == [10]
        assert sent == [[1], [2, 3, 4]]
        many = list(range(MOST + 1))
        assert [*await asyncio.gather(lane.ask([5]), lane.ask(many), lane.ask([6]))] == [
            [50],
            [n * 10 for n in many],
            [60],
        ]
        assert [len(one) for one in sent[2:]] == [1, MOST + 1, 1]

    asyncio.run(scenario())


def test_what_fails_fails_all_who_wait_and_the_next_are_asked_anew() -> None:
    broken = [True]

    async def send(things: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        if broken.pop() if broken else False:
            raise OSError("gone")
        return things

    async def scenario() -> None:
        lane = Lane[int](send)
        first = asyncio.create_task(lane.ask([1]))
        cancelled = asyncio.create_task(lane.ask([2]))
        await asyncio.sleep(0)
        cancelled.cancel()
        for asked in (lane.ask([3]), first):
            with pytest.raises(OSError, match="gone"):
                await asked
        assert await lane.ask([4]) == [4]

    asyncio.run(scenario())
