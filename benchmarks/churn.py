"""Measures the live index: what a write costs, what a search feels of it, and what recall does when videos come and go.

    python -m benchmarks.churn --videos 100000 --dim 64

Vectors are made up: each of `--clusters` centers has a share of the videos that falls as 1/rank, and videos lie about
it; what replaces half of them lies about other centers, as when fashions change. Users lie about the same centers.
Rows go to benchmarks/results/churn.csv, one for each number.
"""

import argparse
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.record import Circumstances, record, usable_threads
from towers.index import Exact, Ivf, Live, Upkeep, measured_recall
from towers.types import Geometry, peak_mb

K, SPREAD, ENOUGH = 100, 1.0, 0.005
COLUMNS = ("what", "p50_us", "p99_us", "longest_us", "above_5_ms", "measured", "value", "unit")


@dataclass
class World:
    """Clusters, and what is drawn from them."""

    dim: int
    clusters: int
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def __post_init__(self) -> None:
        self.centers = self.random.standard_normal((2 * self.clusters, self.dim)).astype(np.float32)
        share = 1 / np.arange(1, self.clusters + 1)
        self.share = share / share.sum()

    def draw(self, n: int, *, later: bool = False) -> np.ndarray:
        """Return unit vectors about the centers of before or of later, [n, d]."""
        which = self.random.choice(self.clusters, n, p=self.share) + later * self.clusters
        vectors = self.centers[which] + np.float32(SPREAD) * self.random.standard_normal((n, self.dim), np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass
class Findings:
    """Numbers and their names: a line of each, either a value or the quantiles of many times."""

    lines: list[dict[str, object]] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str) -> None:
        """Keep a number, and show it."""
        self._keep({"what": what, "value": f"{value:.4g}", "unit": unit})

    def times(self, what: str, spent: np.ndarray) -> None:
        """Keep the quantiles of seconds, in µs, and how many are above 5 ms."""
        p50, p99, longest = (f"{1e6 * float(np.quantile(spent, share)):.0f}" for share in (0.5, 0.99, 1.0))
        above = int((spent > ENOUGH).sum())
        quantiles = {"p50_us": p50, "p99_us": p99, "longest_us": longest, "above_5_ms": above, "measured": len(spent)}
        self._keep({"what": what} | quantiles)

    def _keep(self, line: dict[str, object]) -> None:
        self.lines.append({column: line.get(column, "") for column in COLUMNS})
        print(line, flush=True)


def spent(act: Callable[[int], object], count: int) -> np.ndarray:
    """Return how long an act takes, time after time, seconds."""
    seconds = np.empty(count)
    for number in range(count):
        began = time.perf_counter()
        act(number)
        seconds[number] = time.perf_counter() - began
    return seconds


def searches(live: Live, queries: np.ndarray, other: threading.Thread) -> np.ndarray:
    """Search for one query after the other, k = 100, while another thread is at work.

    A thread that is kept from running because all cores are busy, with us or others, waits in the kernel's queue,
    which it counts; one that waits for a lock, Python's or ours, does not: but whoever holds the lock may.

    Returns:
        What each took; that less its own wait for a core; and less the other's too, at most all, seconds, [n, 3].
    """
    seconds: list[tuple[float, float, float]] = []
    tasks = (threading.get_native_id(), other.native_id)
    while other.is_alive():
        row = len(seconds) % len(queries)
        before, began = [_queued(task) for task in tasks], time.perf_counter()
        live.search(queries[row : row + 1], K)
        whole = time.perf_counter() - began
        own, others = (max(_queued(task) - then, 0.0) for task, then in zip(tasks, before, strict=True))
        seconds.append((whole, whole - own, max(whole - own - others, 0)))
    return np.array(seconds)


def _queued(task: int | None) -> float:
    """Return how long a thread of this process has waited for a core, seconds; 0 where it has ended."""
    path = Path(f"/proc/self/task/{task}/schedstat")
    try:
        return int(path.read_bytes().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def each(act: Callable[..., object], *arrays: np.ndarray) -> Callable[[int], object]:
    """Return what acts on one row of arrays."""
    return lambda row: act(*(array[row : row + 1] for array in arrays))


def writes(found: Findings, folder: Path, world: World, n: int) -> None:
    """Measure single writes, with and without waiting for the disk, and doing them again at opening."""
    for sync, count in ((True, 300), (False, 3000)):
        how = "waiting for the disk" if sync else "not waiting for the disk"
        with Live.open(folder, sync=sync, upkeep=Upkeep(background=False)) as live:
            old, more = np.split(world.random.permutation(n)[: 2 * count], 2)
            for what, ids in (("add", np.arange(n, n + count)), ("update", old)):
                found.times(f"{what}, {how}", spent(each(live.put, world.draw(count), ids), count))
            found.times(f"remove, {how}", spent(each(live.remove, more), count))
    together(found, folder, world)
    began = time.perf_counter()
    with Live.open(folder) as live:
        seconds = time.perf_counter() - began
        found.add("opened and done again", seconds, "s")
        found.add("changes done again at opening", live.recovered.changes, "calls")
        found.add("changes done again per second", live.recovered.changes / seconds, "calls/s")
        live.remove(np.arange(n, n + 3000))
        live.compact()
    recent(found, folder, world)
    began = time.perf_counter()
    Live.open(folder).close()
    found.add("opened with an empty journal", time.perf_counter() - began, "s")


def recent(found: Findings, folder: Path, world: World) -> None:
    """Measure what recent vectors cost a search."""
    queries = world.draw(1000)
    with Live.open(folder, sync=False, upkeep=Upkeep(background=False)) as live:
        for count in (0, 1000, 4000, 16000):
            live.put(world.draw(count), np.arange(count))
            took = spent(lambda row: live.search(queries[row : row + 1], K), len(queries))
            found.times(f"search beside {live.health().recent} recent vectors", took)
        live.compact()


def together(found: Findings, folder: Path, world: World, threads: int = 8, calls: int = 400) -> None:
    """Measure how many updates a second several threads get done that wait for the disk together."""
    new = world.draw(calls)
    with Live.open(folder, upkeep=Upkeep(background=False)) as live, ThreadPoolExecutor(threads) as pool:
        began = time.perf_counter()
        list(pool.map(each(live.put, new, np.arange(calls)), range(calls)))
        found.add(
            f"updates of {threads} threads, waiting for the disk", calls / (time.perf_counter() - began), "calls/s"
        )


def churn(found: Findings, folder: Path, world: World, n: int) -> None:
    """Replace half of the catalogue one by one, main parts being built in the background, and measure recall."""
    queries = np.concatenate([world.draw(500), world.draw(500, later=True)])

    def recall(live: Live, what: str) -> None:
        found.add(f"recall@{K}, {what}", live.health(queries).recall, "")

    with Live.open(folder, sync=False) as live:
        recall(live, "before")
        new = world.draw(n // 2, later=True)
        gone = world.random.permutation(live.ids)[: n // 2]
        began = time.perf_counter()
        for row in range(n // 2):
            live.put(new[row : row + 1], gone[row : row + 1])
        found.add("half replaced one by one", time.perf_counter() - began, "s")
        found.add("main parts built meanwhile or being built", live._current.number - 2, "")
        recall(live, "after half was replaced")
    with Live.open(folder) as live:
        compacting(found, live, queries)
        recall(live, "after building anew in the same lists or new ones")
        vectors, ids = live._current.now.contents()
        users = live._part.queries
        fresh, exact = (index.build(vectors, ids, Geometry.cosine, users) for index in (Ivf(), Exact()))
        found.add(f"recall@{K}, fresh build", measured_recall(fresh, exact, queries, K), "")


def compacting(found: Findings, live: Live, queries: np.ndarray) -> None:
    """Search while main parts are built and for as long without, in turns: other work on the machine hits both."""
    took: dict[str, list[np.ndarray]] = {"alone": [], "beside building": [], "beside making lists anew": []}
    for _ in range(3):
        for what, recluster in (("beside building", False), ("beside making lists anew", True)):
            builder = threading.Thread(target=live.compact, kwargs={"recluster": recluster})
            began = time.perf_counter()
            builder.start()
            took[what].append(searches(live, queries, builder))
            timer = threading.Timer(time.perf_counter() - began, lambda: None)
            timer.start()
            took["alone"].append(searches(live, queries, timer))
    for what, parts in took.items():
        every = np.concatenate(parts)
        found.times(f"search {what}", every[:, 0])
        found.times(f"search {what}, less its wait for a core", every[:, 1])
        found.times(f"search {what}, less the other thread's too", every[:, 2])


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--clusters", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(usable_threads())
    world, found, n = World(arguments.dim, arguments.clusters), Findings(), arguments.videos
    place = Path(tempfile.mkdtemp())
    began = time.perf_counter()
    try:
        Live.create(place / "live", world.draw(n), np.arange(n), Geometry.cosine, Ivf(), world.draw(256)).close()
        found.add("created", time.perf_counter() - began, "s")
        writes(found, place / "live", world, n)
        churn(found, place / "live", world, n)
    finally:
        shutil.rmtree(place)
    command = f"python -m benchmarks.churn --videos {n} --dim {arguments.dim} --clusters {arguments.clusters}"
    how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak_mb())
    record("churn", [{"videos": n, "dim": arguments.dim} | line for line in found.lines], how)


if __name__ == "__main__":
    main()
