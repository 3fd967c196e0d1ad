"""Soaks the real service: asked and told for as long as one likes, killed and restarted, a share of all answers judged.

    python -m benchmarks.soak --bundle runs/demo/bundle --minutes 30
    python -m benchmarks.soak --bundle runs/demo/bundle --minutes 2 --store sqlite --trial

`towers serve` has one core; the load, the judge and Redis share another. For some seconds as many requests are made as
can be; then 70% of that: reads, of which three tenths with a filter or with videos to leave out, events, a tenth of
all, and videos that come, go and come again. Every minute the bundle is published once more, the service is killed
three times in the first half of the time, and Redis, at a third of it, as by `kill -9`, and started again.

One answer in 20 is compared with what the driver's own account and a look at every vector say: nothing removed,
excluded, watched or outside a filter, each score its inner product, the best not missed. After each kill, and of all at
the end, what was acknowledged is looked for: each event in its user's export, each video where it was put. Exits with
1 if anything was wrong or lost. A row goes to benchmarks/results/soak.csv.
"""

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvloop

from benchmarks.record import Circumstances, record
from benchmarks.soak.asking import Connection
from benchmarks.soak.load import Load
from benchmarks.soak.lost import look_for
from benchmarks.soak.parts import Redis, Service, republish
from benchmarks.soak.world import World
from towers.publishing import Bundle
from towers.serving.http.keys import KeyConfig, add_key

SHARE_OF_CAPACITY, WARM_S = 0.7, 3.0
LOOK_S, SAY_S, ADOPT_S, ADOPTED_S = 2.0, 15.0, 0.1, 120.0
SHOWN = 20
"""How many faults are printed."""
FEWER = 0.01
"""By how much the recall of an index that is not exact may be below the bundle's: histories are not those it was
measured with."""
Row = dict[str, object]


@dataclass(kw_only=True)
class Soak:
    """One soak, from its start to what it found.

    Attributes:
        arguments: What was asked for.
        root: The bundle that is published again and again.
        service: What is soaked.
        redis: Its store; None with SQLite.
        load: What asks it, and keeps account.
    """

    arguments: argparse.Namespace
    root: Path
    service: Service
    redis: Redis | None
    load: Load
    starts: list[float] = field(default_factory=list)
    adoptions: list[float] = field(default_factory=list)

    async def run(self) -> Row:
        """Soak; return what was found."""
        seconds = 60 * self.arguments.minutes
        if self.redis is not None:
            await asyncio.to_thread(self.redis.start)
        self.starts.append(await self.service.start())
        self.load.begin(self.arguments.changes)
        capacity = await self._capacity()
        self.load.rate = SHARE_OF_CAPACITY * capacity
        del self.load.took[:]
        print(f"{capacity:.0f} requests a second at most; {self.load.rate:.0f} from now on", flush=True)
        tasks = [asyncio.create_task(_after(at, act)) for at, act in self._course(seconds)]
        watching = asyncio.create_task(self._watch(time.perf_counter()))
        running = [watching, *tasks, *self.load.tasks]
        done, _ = await asyncio.wait(running, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
        await asyncio.gather(*tasks)
        watching.cancel()
        reads = len(self.load.took)
        await self.load.end()
        people = [person for person in self.load.everybody if person.told]
        await look_for(self.load, people, set(self.load.world.begun), quiet=True)
        self.service.look()
        if status := await self.service.stop():
            self.load.wrong.append(f"stopped with status {status}")
        return self._row(capacity, reads / seconds)

    def _course(self, seconds: float) -> list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]]:
        """Return what happens when."""
        arguments = self.arguments
        often = arguments.publish_s
        course: list[tuple[float, Callable[[], Coroutine[Any, Any, None]]]]
        course = [(float(at), self._publish) for at in np.arange(often / 4, seconds - often / 4, often)]
        course += [(seconds / 2 * (n + 1) / (arguments.kills + 1), self._kill) for n in range(arguments.kills)]
        return course + ([(seconds / 3, self._restart_redis)] if self.redis is not None else [])

    async def _capacity(self) -> float:
        """Return how many requests a second there are without a limit, once it is warm."""
        await asyncio.sleep(WARM_S)
        before, began = self.load.counts["reads"] + self.load.counts["events"], time.perf_counter()
        await asyncio.sleep(self.arguments.capacity_s)
        after = self.load.counts["reads"] + self.load.counts["events"]
        return (after - before) / (time.perf_counter() - began)

    async def _publish(self) -> None:
        """Publish, and wait until it is served."""
        name = await asyncio.to_thread(republish, self.root)
        self.load.versions.append(name)
        began, connection = time.perf_counter(), Connection(self.service.port, self.load.key)
        while True:
            reply, _ = await self.load.until_done(connection, "GET", "/v1/bundle")
            if reply["version"] >= name:
                break
            if time.perf_counter() - began > ADOPTED_S:
                self.load.wrong.append(f"{name} was not adopted; refused: {reply['refused'] or 'none'}")
                break
            await asyncio.sleep(ADOPT_S)
        connection.close()
        self.adoptions.append(time.perf_counter() - began)

    async def _kill(self) -> None:
        """Kill the service, start it again, and look for what was acknowledged before."""
        self.service.kill()
        people, videos = self.load.touched()
        self.starts.append(await self.service.start())
        print(f"killed the service; it was ready again after {self.starts[-1]:.1f} s", flush=True)
        await look_for(self.load, people, videos)

    async def _restart_redis(self) -> None:
        if self.redis is not None:
            self.redis.kill()
            await asyncio.sleep(self.arguments.redis_away_s)
            await asyncio.to_thread(self.redis.start)
            print(f"killed Redis, and started it again after {self.arguments.redis_away_s:g} s", flush=True)

    async def _watch(self, began: float) -> None:
        """Note the memory, and say how it goes, until cancelled."""
        said, shown = began, 0
        while True:
            await asyncio.sleep(LOOK_S)
            self.service.look()
            if time.perf_counter() - said > SAY_S:
                said, counts = time.perf_counter(), self.load.counts
                done = ", ".join(
                    f"{counts[name]} {name}" for name in ("reads", "events", "judged", "events looked for")
                )
                faults = f"{len(self.load.wrong)} wrong, {len(self.load.lost)} lost"
                print(f"{said - began:.0f} s: {done}, {faults}, {self.service.memory[-1][2]:.0f} MB", flush=True)
                shown = self._show(shown)

    def _show(self, shown: int) -> int:
        """Print the first faults that were not shown yet; return how many were."""
        faults = (self.load.wrong + self.load.lost)[:SHOWN]
        print("\n".join(faults[shown:]), end="\n" if faults[shown:] else "", flush=True)
        return len(faults)

    def _row(self, capacity: float, per_second: float) -> Row:
        load, counts, memory = self.load, self.load.counts, self.service.memory
        manifest = load.world.bundle.manifest
        recall, promised = float(np.mean(load.recalls)), float(manifest["index"]["recall@100"])
        if recall < promised - (0 if manifest["index"]["exact"] else FEWER):
            load.wrong.append(f"recall is {recall:.5f}; the bundle says {promised:.5f}")
        p50, p99 = np.quantile(np.array(load.took) * 1e3, [0.5, 0.99])
        names = ("reads", "events", "videos put", "videos removed", "judged", "not judged", "busy", "unanswered")
        row: Row = {
            "bundle": manifest["protocol"],
            "videos": len(load.world.bundle.videos.known),
            "store": self.arguments.store,
        }
        row |= {
            "minutes": f"{self.arguments.minutes:g}",
            "capacity": f"{capacity:.0f}",
            "per_second": f"{per_second:.0f}",
        }
        row |= {name: counts[name] for name in (*names, "asked again", "history not known")}
        row |= {
            "kills": self.arguments.kills,
            "versions": len(self.adoptions),
            "longest_start_s": f"{max(self.starts):.1f}",
        }
        row |= {
            "longest_adoption_s": f"{max(self.adoptions, default=0):.1f}",
            "p50_ms": f"{p50:.2f}",
            "p99_ms": f"{p99:.2f}",
        }
        row |= {"recall": f"{recall:.5f}", "wrong": len(load.wrong), "lost": len(load.lost)}
        row |= {name: counts[name] for name in ("events looked for", "videos looked for")}
        last = [mb for life, _, mb in memory if life == self.service.lives]
        row |= {
            "first_mb": f"{last[0]:.0f}",
            "last_mb": f"{last[-1]:.0f}",
            "mb_per_hour": f"{self.service.slope():.1f}",
        }
        return row


async def _after(seconds: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(seconds)
    await act()


def prepared(arguments: argparse.Namespace) -> Soak:
    """Lay out an empty work folder, with a bundle of its own."""
    work: Path = arguments.work.absolute()
    for name in ("bundle", "state", "redis"):
        shutil.rmtree(work / name, ignore_errors=True)
    for path in work.glob("*.db*"):
        path.unlink()
    root, keys = work / "bundle", work / "keys.json"
    shutil.copytree(arguments.bundle, root)
    keys.unlink(missing_ok=True)
    key = add_key(KeyConfig(file=str(keys), name="soak", scopes=["read", "write", "admin"]))
    redis = Redis(work / "redis") if arguments.store == "redis" else None
    options = [f"bundle={root}", f"state={work / 'state'}", f"keys={keys}", "deadline_ms=2000"]
    if redis is None:
        options.append(f"store.path={work / 'state.db'}")
    else:
        options += ["store=redis", f"store.url={redis.url}", f"store.spool={work / 'spool.db'}"]
    service = Service(options, work / "log", key)
    load = Load(World(Bundle.open(root)), service, key, 1 / arguments.every, arguments.connections)
    return Soak(arguments=arguments, root=root, service=service, redis=redis, load=load)


def main() -> int:
    """Soak, tell and record; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="folder that towers publish wrote; it is copied")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long")
    parser.add_argument("--store", choices=("redis", "sqlite"), default="redis", help="what the service keeps all in")
    parser.add_argument("--work", type=Path, default=Path("runs/soak"), help="folder for what is made; it is emptied")
    parser.add_argument("--kills", type=int, default=3, help="how often the service is killed")
    parser.add_argument("--publish-s", type=float, default=60.0, help="how often a version is published, seconds")
    parser.add_argument("--redis-away-s", type=float, default=3.0, help="how long Redis is away, seconds")
    parser.add_argument("--changes", type=float, default=4.0, help="videos that come or go, a second")
    parser.add_argument("--every", type=int, default=20, help="of so many answers one is judged")
    parser.add_argument("--connections", type=int, default=32, help="how many ask at once")
    parser.add_argument("--capacity-s", type=float, default=6.0, help="how long capacity is measured, seconds")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {0})
    began, soak = time.perf_counter(), prepared(arguments)
    try:
        row = uvloop.run(soak.run())
    finally:
        soak.service.end()
        if soak.redis is not None:
            soak.redis.kill()
    for name, value in row.items():
        print(f"{name:>20}  {value}")
    faults = soak.load.wrong + soak.load.lost
    for fault in faults[:SHOWN]:
        print(fault)
    if not arguments.trial:
        peak = max(mb for _, _, mb in soak.service.memory)
        command = f"python -m benchmarks.soak {' '.join(sys.argv[1:])}"
        record("soak", [row], Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
