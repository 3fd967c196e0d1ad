"""Opens a saved index in processes of their own: how long that takes, and how much of its memory is theirs alone.

    python -m benchmarks.opening --videos 10000000

`open_s` is from the call of load_index to its return, `first_ms` the first search, `later_us` the median of those after
it, each of another user; imports and machine code are loaded before. `more_mb` is how much more a process holds than
before it opened the index, files in memory included, and `own_mb` how much more of what is in no other's
(`Private_Dirty`). In state `cold` the system has been told to forget the files, so that they come from the disk; the
processes of a round ask one after the other, and all stay until each has been measured. Rows go to
benchmarks/results/opening.csv.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from benchmarks.record import Circumstances, record
from benchmarks.vectors import LIKE, drawn
from towers.index import Ivf
from towers.types import Geometry, peak_mb

USERS, FITTED, K = 200, 10_000, 100
OPEN = """
import json, sys, time
import numpy as np
from pathlib import Path
from towers.index import load_index

folder = Path(sys.argv[1])
users = np.load(folder / "users.npy")
load_index(folder / "small").search(users[:1], 100)
print(flush=True)
sys.stdin.readline()
began = time.perf_counter()
searcher = load_index(folder / "index")
opened = time.perf_counter()
spent = [opened]
for user in users:
    searcher.search(user[None], 100)
    spent.append(time.perf_counter())
first, *later = np.diff(spent).tolist()
told = {"open_s": opened - began, "first_ms": 1e3 * first, "later_us": 1e6 * float(np.median(later))}
print(json.dumps(told), flush=True)
sys.stdin.read()
"""


def made(videos: int, dim: int, folder: Path) -> float:
    """Build and save an index of made-up videos, and users beside it; return the seconds that building took."""
    blocks, users = drawn(LIKE["kuairand"], videos, dim, USERS + FITTED)
    vectors = np.concatenate(list(blocks))
    began = time.perf_counter()
    searcher = Ivf().build(vectors, np.arange(videos), Geometry.cosine, users[USERS:])
    spent = time.perf_counter() - began
    searcher.save(folder / "index")
    Ivf().build(vectors[:1000], np.arange(1000), Geometry.cosine).save(folder / "small")
    np.save(folder / "users.npy", users[:USERS])
    return spent


def forget(folder: Path) -> None:
    """Have the system forget what it holds of a folder's files in memory."""
    for path in (each for each in folder.rglob("*") if each.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def opener(folder: Path) -> Iterator[tuple[dict[str, float], Callable[[], dict[str, str]]]]:
    """Yield what a process that opens the index has measured, and what tells how much more it holds than before.

    The process lives as long as the block.
    """
    command = [sys.executable, "-c", OPEN, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        if process.stdin is None or process.stdout is None:
            raise SystemExit("the process has no pipes")
        process.stdout.readline()
        before = memory(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        told = process.stdout.readline()
        if not told:
            raise SystemExit("a process could not open the index, as said above; nothing recorded")
        pid = process.pid
        yield json.loads(told), lambda: {name: f"{now - before[name]:.0f}" for name, now in memory(pid).items()}
        process.stdin.close()


def memory(pid: int) -> dict[str, float]:
    """Return the MB that a process holds, and that no other process has."""
    lines = (line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:])
    kilobytes = {words[0]: float(words[1]) for words in lines}
    return {"more_mb": kilobytes["Rss:"] * 1024 / 1e6, "own_mb": kilobytes["Private_Dirty:"] * 1024 / 1e6}


def opened(folder: Path, processes: int, state: str) -> list[dict[str, object]]:
    """Return a row for each of some processes that hold the index at the same time."""
    if state == "cold":
        forget(folder)
    with ExitStack() as stack:
        found = [stack.enter_context(opener(folder)) for _ in range(processes)]
        return [
            {
                "state": state if place == 0 else "cached",
                "processes": processes,
                "process": place + 1,
                "open_s": f"{told['open_s']:.3f}",
                "first_ms": f"{told['first_ms']:.1f}",
                "later_us": f"{told['later_us']:.0f}",
            }
            | grown()
            for place, (told, grown) in enumerate(found)
        ]


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1_000_000, help="how many")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--trial", action="store_true", help="record nothing")
    asked = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        built = made(asked.videos, asked.dim, folder)
        size = sum(path.stat().st_size for path in (folder / "index").rglob("*")) / 1e6
        opened(folder, 1, "cached")  # machine code is made
        rounds = [(1, "cold"), (1, "cached"), (4, "cached")]
        rows = [row for processes, state in rounds for row in opened(folder, processes, state)]
    whole = {"videos": asked.videos, "dim": asked.dim, "index_mb": f"{size:.0f}", "build_s": f"{built:.1f}"}
    command = f"python -m benchmarks.opening --videos {asked.videos}" + (f" --dim {asked.dim}" * (asked.dim != 64))
    spent = time.perf_counter() - began
    for row in rows:
        print(", ".join(f"{key} {value}" for key, value in (whole | row).items()), flush=True)
    if not asked.trial:
        how = Circumstances(command=command, seed=0, seconds=spent, peak_mb=peak_mb())
        record("opening", [whole | row for row in rows], how)


if __name__ == "__main__":
    main()
