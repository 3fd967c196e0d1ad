"""Makes each kind of store, also in processes of its own: python -m tests.stores TASK KIND WHERE WORDS…."""

import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import towers

if __name__ == "__main__":
    # Its __init__ would load torch, which takes a process of its own seconds.
    room = ModuleType("towers.serving")
    room.__path__ = [str(Path(towers.__file__).parent / "serving")]
    sys.modules["towers.serving"] = room

from towers.serving.store import Change, ChangeKind, Event, Id, MemoryStore, SqliteStore, Store, StoreAwayError

T = TypeVar("T")
MAKERS: dict[str, Callable[[str, int], Store]] = {
    "memory": lambda _, longest: MemoryStore(longest),
    "sqlite": lambda where, longest: SqliteStore(where, longest),
}


@dataclass(frozen=True)
class Place:
    """Where a store is, so that it can be opened again and by others."""

    kind: str
    where: str
    longest: int = 1000

    def store(self) -> Store:
        return MAKERS[self.kind](self.where, self.longest)

    def run(self, scenario: Callable[[Store], Awaitable[T]]) -> T:
        """Open it, do something with it, close it."""

        async def whole() -> T:
            store = self.store()
            await store.open()
            try:
                return await scenario(store)
            finally:
                await store.close()

        return asyncio.run(whole())

    def command(self, task: str, *words: object) -> list[str]:
        """What to start to do a task below in a process of its own."""
        return [sys.executable, "-m", "tests.stores", task, self.kind, self.where, *map(str, words)]


def event(event_id: str, user_id: Id = 7, video_id: Id = 1, time_ms: int = 1000, **more: object) -> Event:
    return Event(event_id=event_id, user_id=user_id, video_id=video_id, time_ms=time_ms, **more)  # type: ignore[arg-type]


def put(video: Id, time_ms: int = 1000, **features: object) -> Change:
    return Change(kind=ChangeKind.put, id=video, time_ms=time_ms, features=features)


def remove(video: Id, time_ms: int = 1000) -> Change:
    return Change(kind=ChangeKind.remove, id=video, time_ms=time_ms)


def erase(user: Id, time_ms: int = 1000) -> Change:
    return Change(kind=ChangeKind.erase, id=user, time_ms=time_ms)


async def append(store: Store, who: str, n: str) -> None:
    """Append n events of user 7, eight at a time, and put a video after each."""
    numbers = iter(range(int(n)))

    async def task() -> None:
        for i in numbers:
            assert await store.append([event(f"{who}-{i}", video_id=f"{who}-{i}", time_ms=i)]) == [True]
            await store.change([put(f"{who}-{i}")])

    await asyncio.gather(*(task() for _ in range(8)))


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def write_for_ever(store: Store, who: str) -> None:
    """Append events of user 7, put videos, erase users, eight at a time; say each once it is acknowledged."""
    numbers = itertools.count()

    async def task() -> None:
        for i in numbers:
            name = f"{who}-{i}"
            if i % 4 == 3:
                await store.append([event(name, user_id=name)])
                await store.change([erase(name)])
                say("erased", name)
            elif i % 4 == 2:
                await store.change([put(name)])
                say("changed", name)
            else:
                await store.append([event(name, video_id=name, time_ms=i), event(f"{name}-seen", positive=False)])
                say("appended", name)

    await asyncio.gather(*(task() for _ in range(8)))


async def fill_the_disk(store: Store, ballast: str) -> None:
    """Append until the disk is full; say why, take the ballast away, and append once more."""
    Path(ballast).write_bytes(bytes(500_000))
    try:
        for i in itertools.count():
            await store.append([event(f"{i}", video_id="x" * 5000, time_ms=i)])
            say("appended", f"{i}")
    except StoreAwayError as error:
        say("refused", str(error))
    say("history", str(len(await store.history(7))))
    Path(ballast).unlink()
    say("health", (await store.health()).away)
    await store.append([event("last")])
    say("appended", "last")


TASKS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "append": append,
    "fill_the_disk": fill_the_disk,
    "write_for_ever": write_for_ever,
}

if __name__ == "__main__":
    task, kind, where, *words = sys.argv[1:]
    Place(kind, where).run(lambda store: TASKS[task](store, *words))
