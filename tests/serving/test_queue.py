"""Who waits is answered in turn, several together, and never for long."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from towers.serving.queue import BusyError, Queue
from towers.types import ConfigError


def test_those_that_came_first_are_answered_first_and_together() -> None:
    turns: list[list[int]] = []

    def answer_all(wishes: Sequence[int]) -> list[int]:
        turns.append(list(wishes))
        return [10 * wish for wish in wishes]

    async def main() -> list[int]:
        queue: Queue[int, int] = Queue(answer_all, 100, 1000.0)
        return await asyncio.gather(*(queue.answer(n) for n in range(50)))

    assert asyncio.run(main()) == [10 * n for n in range(50)]
    assert [len(turn) for turn in turns] == [32, 18]
    assert [wish for turn in turns for wish in turn] == list(range(50))


def test_what_is_on_its_way_comes_before_a_turn_unless_that_is_full() -> None:
    turns: list[list[int]] = []
    steps: list[int] = []

    def answer_all(wishes: Sequence[int]) -> list[int]:
        turns.append(list(wishes))
        steps.append(-1)
        return list(wishes)

    async def on_its_way() -> None:
        for step in range(8):
            steps.append(step)
            await asyncio.sleep(0)

    async def main(at_once: int, longest: int = 100) -> None:
        queue: Queue[int, int] = Queue(answer_all, longest, 1000.0)
        asking = [asyncio.ensure_future(queue.answer(n)) for n in range(at_once)]
        for late in range(at_once, at_once + 2):
            await asyncio.sleep(0)
            asking.append(asyncio.ensure_future(queue.answer(late)))
        await asyncio.gather(on_its_way(), *asking)

    asyncio.run(main(1))
    assert turns == [[0, 1, 2]]
    assert steps == [0, 1, 2, -1, 3, 4, 5, 6, 7]
    turns.clear()
    asyncio.run(main(32))
    assert turns == [list(range(32)), [32, 33]]
    turns.clear()
    asyncio.run(main(3, longest=3))  # nobody is refused while nothing is done
    assert turns == [[0, 1, 2], [3, 4]]


def test_a_turn_does_not_wait_for_what_takes_long() -> None:
    steps: list[str] = []

    def answer_all(wishes: Sequence[int]) -> list[int]:
        steps.append("turn")
        return list(wishes)

    async def slowly() -> None:
        for _ in range(4):
            steps.append("slow")
            until = time.monotonic() + 0.002
            while time.monotonic() < until:
                pass
            await asyncio.sleep(0)

    async def main() -> None:
        queue: Queue[int, int] = Queue(answer_all, 100, 1000.0)
        await asyncio.gather(queue.answer(1), slowly())

    asyncio.run(main())
    assert steps == ["slow", "turn", "slow", "slow", "slow"]


def test_who_comes_to_a_full_line_is_refused_at_once_and_others_are_answered() -> None:
    async def main() -> tuple[list[object], int, int]:
        queue: Queue[int, int] = Queue(list, 3, 1000.0)
        results = await asyncio.gather(*(queue.answer(n) for n in range(5)), return_exceptions=True)
        return list(results), queue.refused, await queue.answer(7)

    results, refused, later = asyncio.run(main())
    assert results[:3] == [0, 1, 2]
    assert [str(each) for each in results[3:]] == ["3 requests wait, which is the most; ask again a moment later"] * 2
    assert (refused, later) == (2, 7)


def test_who_waited_too_long_is_refused_without_work() -> None:
    done: list[int] = []

    def slowly(wishes: Sequence[int]) -> list[int]:
        done.extend(wishes)
        until = time.monotonic() + 0.05
        while time.monotonic() < until:
            pass
        return list(wishes)

    async def main() -> list[object]:
        queue: Queue[int, int] = Queue(slowly, 100, 30.0)
        return list(await asyncio.gather(*(queue.answer(n) for n in range(40)), return_exceptions=True))

    results = asyncio.run(main())
    assert done == results[:32] == list(range(32))
    assert all(isinstance(each, BusyError) and "this request waited for" in str(each) for each in results[32:])


def test_an_error_reaches_who_asked_alone_and_who_has_gone_costs_nothing() -> None:
    seen: list[list[str]] = []

    def answer_all(wishes: Sequence[str]) -> list[str | Exception]:
        seen.append(list(wishes))
        return [ValueError(wish) if wish == "bad" else wish for wish in wishes]

    async def main() -> list[object]:
        queue: Queue[str, str] = Queue(answer_all, 100, 1000.0)
        gone = asyncio.ensure_future(queue.answer("gone"))
        await asyncio.sleep(0)
        asking = [queue.answer("bad"), queue.answer("fine")]
        gone.cancel()
        return list(await asyncio.gather(*asking, return_exceptions=True))

    failed, fine = asyncio.run(main())
    assert isinstance(failed, ValueError)
    assert fine == "fine"
    assert [wish for turn in seen for wish in turn] == ["bad", "fine"]


def test_an_error_of_the_work_itself_reaches_all_and_the_line_goes_on() -> None:
    def answer_all(wishes: Sequence[int]) -> list[int]:
        if 3 in wishes:
            raise ZeroDivisionError("3")
        return list(wishes)

    async def main() -> tuple[list[object], int]:
        queue: Queue[int, int] = Queue(answer_all, 100, 1000.0)
        results = await asyncio.gather(*(queue.answer(n) for n in range(4)), return_exceptions=True)
        return list(results), await queue.answer(7)

    results, later = asyncio.run(main())
    assert [type(each) for each in results] == [ZeroDivisionError] * 4
    assert later == 7


@pytest.mark.parametrize(("longest", "deadline"), [(0, 10.0), (5, 0.0)])
def test_a_line_that_makes_no_sense_is_refused(longest: int, deadline: float) -> None:
    with pytest.raises(ConfigError, match=f"queue={longest} and deadline_ms={deadline}"):
        Queue(list, longest, deadline)
