"""Tasks end, also those that forget that they were told to."""

import asyncio

import pytest

from towers.serving.store.ending import end_tasks


@pytest.mark.parametrize("deaf", [0, 1, 2])
def test_a_task_that_forgets_that_it_was_cancelled_ends(deaf: int) -> None:
    async def goes_on(told: list[int], deaf: int) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                told.append(1)
                if len(told) > deaf:
                    raise

    async def whole() -> tuple[bool, bool, int, int]:
        told: list[int] = []
        beside: list[int] = []
        tasks = [asyncio.create_task(goes_on(told, deaf)), asyncio.create_task(goes_on(beside, 0))]
        await asyncio.sleep(0)
        await asyncio.wait_for(end_tasks(tasks), 30)
        return tasks[0].cancelled(), tasks[1].cancelled(), len(told), len(beside)

    assert asyncio.run(whole()) == (True, True, deaf + 1, 1)


def test_tasks_that_have_ended_are_no_trouble() -> None:
    async def fails() -> None:
        raise ValueError

    async def whole() -> bool:
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        await end_tasks([task])
        await end_tasks([])
        return isinstance(task.exception(), ValueError)

    assert asyncio.run(whole())
