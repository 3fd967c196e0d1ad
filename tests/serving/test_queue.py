"""Who waits is answered in turn, and never for long."""

import asyncio
import time
from functools import partial

import pytest

from towers.serving.queue import BusyError, Queue
from towers.types import ConfigError


def test_those_that_came_first_are_answered_first() -> None:
    async def main() -> list[int]:
        queue: Queue[None] = Queue(100, 1000.0)
        done: list[int] = []
        await asyncio.gather(*(queue.answer(partial(done.append, n)) for n in range(50)))
        return done

    assert asyncio.run(main()) == list(range(50))


def test_who_comes_to_a_full_line_is_refused_at_once_and_others_are_answered() -> None:
    async def main() -> tuple[list[object], int, int]:
        queue: Queue[int] = Queue(3, 1000.0)
        results = await asyncio.gather(*(queue.answer(partial(int, n)) for n in range(5)), return_exceptions=True)
        return list(results), queue.refused, await queue.answer(lambda: 7)

    results, refused, later = asyncio.run(main())
    assert results[:3] == [0, 1, 2]
    assert [str(each) for each in results[3:]] == ["3 requests wait, which is the most; ask again a moment later"] * 2
    assert (refused, later) == (2, 7)


def test_who_waited_too_long_is_refused_without_work() -> None:
    async def main() -> tuple[list[object], list[int]]:
        queue: Queue[None] = Queue(100, 30.0)
        done: list[int] = []

        def work(n: int) -> None:
            done.append(n)
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass

        results = await asyncio.gather(*(queue.answer(partial(work, n)) for n in range(10)), return_exceptions=True)
        return list(results), done

    results, done = asyncio.run(main())
    assert done == [0, 1]
    assert all(isinstance(each, BusyError) and "this request waited for" in str(each) for each in results[2:])


def test_an_error_reaches_who_asked_alone_and_who_has_gone_costs_nothing() -> None:
    async def main() -> tuple[list[object], list[str]]:
        queue: Queue[str] = Queue(100, 1000.0)
        done: list[str] = []

        def work() -> str:
            done.append("gone")
            return "gone"

        gone = asyncio.ensure_future(queue.answer(work))
        await asyncio.sleep(0)
        asking = [queue.answer(lambda: str(1 // 0)), queue.answer(lambda: "fine")]
        gone.cancel()
        return list(await asyncio.gather(*asking, return_exceptions=True)), done

    (failed, fine), done = asyncio.run(main())
    assert isinstance(failed, ZeroDivisionError)
    assert fine == "fine"
    assert done == []


@pytest.mark.parametrize(("longest", "deadline"), [(0, 10.0), (5, 0.0)])
def test_a_line_that_makes_no_sense_is_refused(longest: int, deadline: float) -> None:
    with pytest.raises(ConfigError, match=f"queue={longest} and deadline_ms={deadline}"):
        Queue(longest, deadline)
