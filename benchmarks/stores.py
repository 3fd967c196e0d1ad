"""Measures what a store costs a request: reading a history, and keeping an event.

    python -m benchmarks.stores

Rows go to benchmarks/results/stores.csv. The files lie in a folder under the present one; Redis is a server of its
own at a socket there. With one caller at a time the loop is the only one to wait; of several each waits for its own.
"""

import argparse
import asyncio
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.record import Circumstances, record
from towers.serving.store import Event, MemoryStore, SqliteStore, Store
from towers.serving.store.redis import RedisStore
from towers.types import peak_mb

Row = dict[str, object]
NOW_MS = 1_760_000_000_000
VIDEOS = 10**6
LONG = {50: 1000, 1000: 100}
"""Of each length of a history how many users have it."""
CALLERS = (1, 16, 256)


def events(user: int, n: int, first: int = 0) -> list[Event]:
    """Make events of one user, of about 200 bytes each."""
    return [
        Event(
            event_id=f"{user:08x}-0000-4000-8000-{i:012x}",
            user_id=user,
            video_id=random.randrange(VIDEOS),  # noqa: S311  a benchmark's data are no secret
            time_ms=NOW_MS + i * 1000,
            labels={"watch_ms": 7000 + i, "duration_ms": 15000},
            request_id=f"{i:032x}",
        )
        for i in range(first, first + n)
    ]


def quantiles(what: str, spent_ns: list[int], seconds: float) -> Row:
    """Make a row of how long each call took and how many there were in a second."""
    spent_ns = sorted(spent_ns)
    return {
        "what": what,
        "p50_us": f"{spent_ns[len(spent_ns) // 2] / 1000:.1f}",
        "p99_us": f"{spent_ns[len(spent_ns) * 99 // 100] / 1000:.1f}",
        "per_second": f"{len(spent_ns) / seconds:.0f}",
        "measured": len(spent_ns),
    }


async def reads(store: Store, most: int) -> list[Row]:
    """Measure histories of each length, of users in random order."""
    rows = []
    for length, users in LONG.items():
        for user in range(users):
            await store.append(events(length * 10_000 + user, length))
        spent = []
        for _ in range(most):
            user = length * 10_000 + random.randrange(users)  # noqa: S311  as above
            began = time.perf_counter_ns()
            found = await store.history(user)
            spent.append(time.perf_counter_ns() - began)
            if len(found) != length:
                raise RuntimeError(f"user {user} has {len(found)} positives; {length} were appended")
        rows.append(quantiles(f"history of {length}", spent, sum(spent) / 1e9))
    return rows


async def appends(store: Store, callers: int, seconds: float) -> Row:
    """Measure one event a call, of a user of its own 50 long, from several callers at once."""
    spent: list[int] = []
    for who in range(callers):
        await store.append(events(callers * 1000 + who, 50))

    async def caller(who: int) -> None:
        own, i = callers * 1000 + who, 50
        while time.perf_counter() < end:
            one = events(own, 1, i)
            began = time.perf_counter_ns()
            await store.append(one)
            spent.append(time.perf_counter_ns() - began)
            i += 1

    began = time.perf_counter()
    end = began + seconds
    await asyncio.gather(*(caller(who) for who in range(callers)))
    of = "1 caller" if callers == 1 else f"{callers} callers"
    return quantiles(f"append, {of}", spent, time.perf_counter() - began)


async def all_of(store: Store, most: int, seconds: float) -> list[Row]:
    """Measure a store that is new."""
    await store.open()
    try:
        rows = await reads(store, most)
        return rows + [await appends(store, callers, seconds) for callers in CALLERS]
    finally:
        await store.close()


def syncs(folder: Path, seconds: float) -> Row:
    """Measure the disk alone: 300 bytes appended to a file and synced."""
    spent = []
    end = time.perf_counter() + seconds
    with (folder / "alone").open("wb", buffering=0) as file:
        while time.perf_counter() < end:
            began = time.perf_counter_ns()
            file.write(bytes(300))
            os.fdatasync(file.fileno())
            spent.append(time.perf_counter_ns() - began)
    return quantiles("300 bytes and a sync", spent, sum(spent) / 1e9)


@contextmanager
def redis(folder: Path, fsync: str) -> Iterator[str]:
    """Start a server that appends to a file in a folder; yield its url."""
    listen = ["--port", "0", "--unixsocket", str(folder / "redis.sock"), "--dir", str(folder), "--save", ""]
    command = ["redis-server", *listen, "--appendonly", "yes", "--appendfsync", fsync]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            if not any("eady to accept connections" in line for line in server.stdout or ()):
                raise RuntimeError(f"{' '.join(command)} did not start")
            yield f"unix://{folder}/redis.sock"
        finally:
            server.terminate()


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reads", type=int, default=5000, help="histories of each length")
    parser.add_argument("--seconds", type=float, default=2.0, help="of appending, for each number of callers")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    arguments = parser.parse_args()

    def measure(name: str, rows: Callable[[], list[Row]]) -> None:
        began = time.perf_counter()
        complete = [{"store": name} | row for row in rows()]
        seconds = time.perf_counter() - began
        for row in complete:
            print(*row.values(), flush=True)
        if not arguments.trial:
            how = Circumstances(command="python -m benchmarks.stores", seed=0, seconds=seconds, peak_mb=peak_mb())
            record("stores", complete, how)

    def new(store: Store) -> list[Row]:
        return uvloop.run(all_of(store, arguments.reads, arguments.seconds))

    random.seed(0)
    with tempfile.TemporaryDirectory(dir=".", prefix="stores-") as name:
        folder = Path(name).resolve()
        measure("the disk alone", lambda: [syncs(folder, arguments.seconds)])
        measure("memory", lambda: new(MemoryStore()))
        measure("sqlite", lambda: new(SqliteStore(folder / "state.db")))
        for fsync in ("everysec", "always"):
            part = folder / fsync
            part.mkdir()
            with redis(part, fsync) as url:
                measure(f"redis, appendfsync {fsync}", partial(new, RedisStore(url, timeout_ms=5000)))


if __name__ == "__main__":
    main()
