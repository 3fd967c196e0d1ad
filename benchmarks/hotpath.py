"""Measures searches of a hundred videos, ours beside other libraries', with the recall of each beside its latency.

    python -m benchmarks.hotpath --videos 100000
    python -m benchmarks.hotpath --videos 10000000 --only ivf scann faiss --modes 1x1 64x2
    python -m benchmarks.hotpath --bundle runs/demo/bundle

Every library is built once, in a process of its own (peers in the environments that benchmarks/peers/requirements
pins, made under `--environments` when they are missing), and stays; then they take turns, A B A B, in every way of
asking: batch x threads. Each finds by itself the least effort that reaches each recall. Videos are made up or a
bundle's, users a bundle's own or made up likewise: see benchmarks/vectors.py. Rows go to
benchmarks/results/searches.csv, pictures to benchmarks/searches-*.png. Trust the ratios of one run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.curves import draw_all
from benchmarks.own_searches import OWN
from benchmarks.peers.__main__ import environment
from benchmarks.peers.searches import PEERS
from benchmarks.record import CHECKOUT, Circumstances, record
from benchmarks.vectors import LIKE, World, write_bundle, write_made
from towers.types import peak_mb

MODES = ("1x1", "1x2", "64x1", "64x2")
SHOWN = ("aim", "setting", "recall@100", "p50_us", "p99_us", "qps")
OWN_MODULE = "benchmarks.own_searches"


class Measured:
    """A library in a process of its own, built over the vectors of a folder.

    Attributes:
        name: Of the library.
        built: What building took, `build_s` and `bytes_a_video`.

    Raises:
        RuntimeError: The process ended.
    """

    def __init__(self, name: str, folder: Path, environments: Path) -> None:
        script = str(CHECKOUT / "benchmarks" / "peers" / "searches.py")
        peer = name in PEERS
        command = [str(environment(name, environments)), script] if peer else [sys.executable, "-m", OWN_MODULE]
        self.name = name
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process; close closes it
        self._process = subprocess.Popen(
            [*command, name, str(folder)],
            cwd=CHECKOUT,
            env=os.environ | {"OMP_NUM_THREADS": "2"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
        )
        self.built: dict[str, Any] = json.loads(self._line())

    def rows(self, mode: str) -> list[dict[str, Any]]:
        """Return what a turn of one way of asking gives, a row for each recall aimed at."""
        batch, threads = (int(number) for number in mode.split("x"))
        if self._process.stdin:
            self._process.stdin.write(json.dumps({"batch": batch, "threads": threads}) + "\n")
            self._process.stdin.flush()
        return [json.loads(line) for line in iter(self._line, "\n")]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._said.close()

    def _line(self) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._process.wait()
            self._said.seek(0)
            last = self._said.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}, saying: {last}")
        return line


def turns(
    libraries: Sequence[Measured], modes: Sequence[str], rounds: int
) -> Iterator[tuple[Measured, str, list[dict[str, Any]]]]:
    """Let every library have its turn in every way of asking, as often as there are rounds; yield what each gives."""
    for turn in range(rounds):
        for mode in modes:
            for library in libraries:
                yield library, mode, [{"round": turn} | row | library.built for row in library.rows(mode)]


def world_of(arguments: argparse.Namespace, folder: Path) -> tuple[World, dict[str, str]]:
    """Write the world that is asked for; return it, and what rows call it."""
    if arguments.bundle:
        named = {"vectors": arguments.name, "likeness": ""}
        return write_bundle(folder, Path(arguments.bundle), arguments.users), named
    like = LIKE[arguments.like]
    named = {"vectors": f"like {arguments.like}", "likeness": like.fingerprint}
    return write_made(folder, like, arguments.videos, arguments.dim, arguments.users), named


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100_000, help="made up")
    parser.add_argument("--dim", type=int, default=64, help="made up")
    parser.add_argument(
        "--like", choices=list(LIKE), default="kuairand", help="whose vectors the made-up ones are like"
    )
    parser.add_argument("--bundle", help="a bundle whose videos and users are searched instead")
    parser.add_argument("--name", default="kuairand", help="what to call the bundle in the rows")
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--only", nargs="*", default=[*OWN, *PEERS], help=f"of {', '.join([*OWN, *PEERS])}")
    parser.add_argument("--modes", nargs="*", default=MODES, help="batch x threads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environments", default="runs/peers", help="folder for the peers' environments")
    parser.add_argument("--trial", action="store_true", help="record and draw nothing")
    return parser.parse_args()


def main() -> None:
    """Measure and record."""
    arguments, run = options(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with tempfile.TemporaryDirectory() as folder, ExitStack() as open_ones:
        world, named = world_of(arguments, Path(folder))
        libraries = []
        for each in arguments.only:
            began = time.perf_counter()
            libraries.append(Measured(each, Path(folder), Path(arguments.environments)))
            open_ones.callback(libraries[-1].close)
            print(each, libraries[-1].built, f"ready after {time.perf_counter() - began:.0f} s", flush=True)
        made = f"--videos {arguments.videos} --dim {arguments.dim} --like {arguments.like}"
        command = f"python -m benchmarks.hotpath {'--bundle …' if arguments.bundle else made}"
        about = {"run": run, **named, "videos": len(world.videos), "dim": world.videos.shape[1]}
        began = time.perf_counter()
        for library, mode, rows in turns(libraries, arguments.modes, arguments.rounds):
            batch, threads = (int(number) for number in mode.split("x"))
            complete = [about | {"index": library.name, "batch": batch} | row for row in rows]
            print(library.name, mode, flush=True)
            for row in complete:
                print("  ", *(f"{key} {value}" for key, value in row.items() if key in SHOWN), flush=True)
            if not arguments.trial:
                seconds = time.perf_counter() - began
                how = Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak_mb(), threads=threads)
                record("searches", complete, how)
    if not arguments.trial:
        draw_all()


if __name__ == "__main__":
    main()
