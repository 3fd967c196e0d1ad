"""Searches a live index from several threads while videos come, change and go and main parts are built: is it right?

    python -m benchmarks.readers --seconds 600

A vector follows from its id and its version, so a reader knows what every score should have been. It notes what was
acknowledged before its search and what had been begun after it: a video's state is one of those between. Anything else
stops the run: an id that came twice, one that was excluded or not allowed, a score of no such state, and so a video
that is found after its removal was acknowledged. Of some searches the best are looked for in all vectors as well, by
numpy: those that no writer touched meanwhile, less as many as may have been displaced, must be found; their share is
the recall. Rows go to benchmarks/results/readers.csv.
"""

import argparse
import itertools
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.churn import World
from benchmarks.record import Circumstances, record
from towers.index import Ivf, Live, Upkeep
from towers.types import Geometry, Hits, peak_mb

K, LIVES, CHECKED = 50, 4, 20
"""Of how many states of a video one is that it is gone; of how many searches one is compared with all vectors."""
_ROUNDING = 1e-5


class WrongError(Exception):
    """A search was answered with what cannot have been."""


@dataclass
class Counts:
    """What one reader has seen."""

    searches: int = 0
    hits: int = 0
    sure: int = 0
    """Videos that had to be found, in the searches that were compared."""
    found: int = 0


@dataclass
class Ledger:
    """What was begun and what was acknowledged of each video: its version; every fourth is that it is gone.

    Attributes:
        pool: Vectors, of which each version of a video has one, [p, d].
        videos: How many ids there are, a third of which are not there in the beginning.
    """

    pool: np.ndarray
    videos: int
    begun: np.ndarray = field(init=False)
    done: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.begun = (np.arange(self.videos) < 2 * self.videos // 3).astype(np.int64)
        self.done = self.begun.copy()

    def vectors(self, ids: np.ndarray, versions: np.ndarray) -> np.ndarray:
        """Return what ids of some versions are, [n, d]."""
        return self.pool[(ids * 7919 + versions * 104_729) % len(self.pool)]

    def check(self, query: np.ndarray, hits: Hits, before: np.ndarray, after: np.ndarray) -> None:
        """Refuse what one query cannot have been answered with.

        Raises:
            WrongError: An id came twice, scores rise, or a score is of no state between before and after.
        """
        ids, scores = hits.ids[0][hits.ids[0] >= 0], hits.scores[0][hits.ids[0] >= 0]
        if len(np.unique(ids)) < len(ids):
            raise WrongError(f"an id came twice: {np.sort(ids).tolist()}")
        if (np.diff(scores) > 0).any():
            raise WrongError(f"scores rise: {scores.tolist()}")
        right = np.zeros(len(ids), bool)
        for more in range(int((after[ids] - before[ids]).max(initial=-1)) + 1):
            versions = np.minimum(before[ids] + more, after[ids])
            near = np.abs(self.vectors(ids, versions) @ query - scores) <= _ROUNDING
            right |= near & (versions % LIVES > 0)
        if not right.all():
            wrong = int(ids[~right][0])
            raise WrongError(
                f"video {wrong} was found with a score that it had not: versions {before[wrong]} to {after[wrong]}, "
                f"of which every {LIVES}th is that it is gone"
            )

    def sure(self, query: np.ndarray, k: int, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return ids that are among the true best k, whatever became of the videos that were changed meanwhile."""
        ids = np.arange(self.videos)
        stays = before == after
        here = ids[stays & (before % LIVES > 0)]
        best = np.argsort(-(self.vectors(here, before[here]) @ query), kind="stable")
        return here[best[: max(0, k - int((~stays).sum()))]]


def write(live: Live, ledger: Ledger, over: threading.Event, seed: int) -> dict[str, int]:
    """Add, update and remove a few videos at a time until the time is over; return how many calls and videos."""
    random, counts = np.random.default_rng(seed), dict.fromkeys(("calls", "added", "updated", "removed"), 0)
    while not over.is_set():
        ids = np.unique(random.integers(0, ledger.videos, random.integers(1, 20)))
        gone = (ledger.begun[ids] + 1) % LIVES == 0
        for names, removal in ((ids[~gone], False), (ids[gone], True)):
            if not len(names):
                continue
            there = int((ledger.done[names] % LIVES > 0).sum())
            ledger.begun[names] += 1
            if removal:
                told, expected = live.remove(names), there
                counts["removed"] += told
            else:
                told, expected = live.put(ledger.vectors(names, ledger.begun[names]), names), len(names) - there
                counts["added"] += told
                counts["updated"] += len(names) - told
            if told != expected:
                raise WrongError(f"a write was told of {told} videos, but there were {expected}")
            ledger.done[names] = ledger.begun[names]
            counts["calls"] += 1
    return counts


def read(live: Live, ledger: Ledger, over: threading.Event, queries: np.ndarray) -> Counts:
    """Search until the time is over, plainly, with videos excluded, and with videos allowed, in turns."""
    counts = Counts()
    for number in itertools.count():
        if over.is_set() and number >= CHECKED:
            break
        query = queries[number % len(queries)]
        some = np.arange(number % 7, ledger.videos, 7)
        exclude = [some] if number % 3 == 1 else None
        allow = some if number % 3 == 2 else None
        before = ledger.done.copy()
        hits = live.search(query[None], K, exclude, allow)
        after = ledger.begun.copy()
        ledger.check(query, hits, before, after)
        given = np.isin(hits.ids[0][hits.ids[0] >= 0], some)
        if (exclude is not None and given.any()) or (allow is not None and not given.all()):
            raise WrongError("a video was found that was excluded, or not allowed")
        counts.searches += 1
        counts.hits += len(given)
        if number % (3 * CHECKED) == 0:
            sure = ledger.sure(query, K, before, after)
            counts.sure += len(sure)
            counts.found += int(np.isin(sure, hits.ids[0]).sum())
    return counts


def run(folder: Path, seconds: float, readers: int, videos: int, dim: int) -> list[dict[str, object]]:
    """Return what was seen, a line for each number.

    Raises:
        WrongError: Something that cannot have been.
    """
    world = World(dim, 100)
    ledger = Ledger(world.draw(2 * videos), videos)
    here = np.flatnonzero(ledger.done % LIVES > 0)
    vectors = ledger.vectors(here, ledger.done[here])
    Live.create(folder, vectors, here, Geometry.cosine, Ivf(), world.draw(256)).close()
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    with (
        Live.open(folder, sync=False, upkeep=Upkeep(recent=0.0, at_least=max(50, videos // 20))) as live,
        ThreadPoolExecutor(readers + 1) as threads,
    ):
        # Machine code is made by the first calls, which may take longer than all that is asked for.
        live.put(vectors[:1], here[:1])
        live.remove(np.array([videos]))
        for exclude, allow in ((None, None), ([here[:5]], None), (None, here[::7])):
            live.search(world.draw(1), K, exclude, allow)
        timer.start()
        try:
            reading = [threads.submit(read, live, ledger, over, world.draw(500)) for _ in range(readers)]
            written = threads.submit(write, live, ledger, over, 1).result()
            seen = [each.result() for each in reading]
        finally:
            timer.cancel()
            over.set()
        live.compact()
        built = live._current.number - 1
        expected = np.flatnonzero(ledger.done % LIVES > 0).tolist()
        if live.ids.tolist() != expected or Live.open(folder, write=False).ids.tolist() != expected:
            raise WrongError("after all what is there is not what was acknowledged")
    total = {name: sum(getattr(each, name) for each in seen) for name in vars(seen[0])}
    lines = {"readers": readers, "searches": total["searches"], "hits checked": total["hits"]}
    lines |= {f"writes: {name}": value for name, value in written.items()} | {"main parts built": built}
    lines |= {"videos that had to be found": total["sure"], "recall of these": total["found"] / max(1, total["sure"])}
    return [
        {"what": name, "value": f"{value:.5g}" if isinstance(value, float) else value} for name, value in lines.items()
    ]


def main() -> None:
    """Run, show and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--readers", type=int, default=4)
    parser.add_argument("--videos", type=int, default=30_000)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--dry", action="store_true", help="record nothing")
    told = parser.parse_args()
    torch.set_num_threads(1)
    place, began = Path(tempfile.mkdtemp()), time.perf_counter()
    try:
        lines = run(place / "live", told.seconds, told.readers, told.videos, told.dim)
    finally:
        shutil.rmtree(place)
    for line in lines:
        print(line, flush=True)
    if not told.dry:
        options = f"--seconds {told.seconds} --readers {told.readers} --videos {told.videos} --dim {told.dim}"
        command, spent = f"python -m benchmarks.readers {options}", time.perf_counter() - began
        how = Circumstances(command=command, seed=0, seconds=spent, peak_mb=peak_mb(), threads=told.readers + 1)
        record("readers", [{"videos": told.videos, "dim": told.dim} | line for line in lines], how)


if __name__ == "__main__":
    main()
