"""Makes each kind of store, also in processes of its own: python -m tests.stores TASK KIND WHERE LONGEST WORDS…."""

import asyncio
import itertools
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import towers
from tests.processes import free_port

if __name__ == "__main__":
    # Its __init__ would load torch, which takes a process of its own seconds.
    room = ModuleType("towers.serving")
    room.__path__ = [str(Path(towers.__file__).parent / "serving")]
    sys.modules["towers.serving"] = room

from towers.serving.store import (
    Change,
    ChangeKind,
    Event,
    Id,
    MemoryStore,
    SpooledStore,
    SqliteStore,
    Store,
    StoreAwayError,
)

T = TypeVar("T")


def redis_at(where: str, longest: int) -> Store:
    from towers.serving.store.redis import RedisStore

    url, _, prefix = where.partition("#")
    return RedisStore(url, longest, prefix, timeout_ms=5000, cluster=url.startswith("redis://"))


def spooled_at(where: str, longest: int) -> Store:
    url, _, prefix = where.partition("#")
    folder = Path(url.removeprefix("unix://")).parent
    return SpooledStore(redis_at(where, longest), folder / f"{prefix}-{os.getpid()}.db", pauses_s=(0.01, 0.05))


MAKERS: dict[str, Callable[[str, int], Store]] = {
    "memory": lambda _, longest: MemoryStore(longest),
    "sqlite": lambda where, longest: SqliteStore(where, longest),
    "redis": redis_at,
    "cluster": redis_at,
    "spooled": spooled_at,
}
"""Of each kind what makes it from where it is: a file, or a server's url, # and a prefix."""


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
        return [sys.executable, "-m", "tests.stores", task, self.kind, self.where, str(self.longest), *map(str, words)]


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


async def append_for_ever(store: Store, who: str) -> None:
    """Append events of user 7; say each once it is acknowledged."""
    for i in itertools.count():
        await store.append([event(f"{who}-{i}", video_id=f"{who}-{i}", time_ms=i)])
        say("appended", f"{who}-{i}")


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
    "append_for_ever": append_for_ever,
    "fill_the_disk": fill_the_disk,
    "write_for_ever": write_for_ever,
}


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let this process write no file that is larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Server:
    """A Redis server of one's own, at a socket in a folder that is gone afterwards, which keeps what it acknowledged.

    Args:
        port: Where a cluster of this one server listens instead; 0 for none.
    """

    def __init__(self, port: int = 0) -> None:
        self.folder = tempfile.mkdtemp(prefix="redis-")
        self.url = f"redis://127.0.0.1:{port}" if port else f"unix://{self.folder}/redis.sock"
        cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())] if port else []
        listen = ["--bind", "127.0.0.1", "--port", str(port), "--unixsocket", f"{self.folder}/redis.sock"]
        durable = ["--dir", self.folder, "--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        self._command = ["redis-server", *listen, *durable, *cluster]

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        lines: list[str] = []
        while not lines or (lines[-1] and "eady to accept connections" not in lines[-1]):
            lines.append(self.process.stdout.readline())
        assert lines[-1], "".join(lines)

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "-s", f"{self.folder}/redis.sock", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def as_cluster(self) -> None:
        """Take all slots, and wait until it says that it is one."""
        self.ask("cluster", "addslotsrange", "0", "16383")
        while "cluster_state:ok" not in self.ask("cluster", "info"):
            pass

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.communicate()
        shutil.rmtree(self.folder)


if __name__ == "__main__":
    task, kind, where, longest, *words = sys.argv[1:]
    Place(kind, where, int(longest)).run(lambda store: TASKS[task](store, *words))
