"""Measures searches of a hundred videos for one user, on one thread, beside the recall of each.

    python -m benchmarks.hotpath --videos 100000 --peer hnswlib=ENVIRONMENT/bin/python --peer scann=…

Our kinds run here; each peer runs in an environment of its own that has numpy and the library (see
benchmarks/peers/searches.py), on the same vectors, in turn with ours and as often. Rows go to
benchmarks/results/hotpath.csv. Trust the ratios of one run.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers import searches
from benchmarks.record import CHECKOUT, Circumstances, record
from benchmarks.vectors import K, World, world
from towers.index import Exact, Hnsw, Index, Ivf, IvfFaiss
from towers.types import Geometry, peak_mb

KINDS: dict[str, dict[str, Index]] = {
    "ivf": {f"reach {reach}": Ivf(reach=reach) for reach in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)},
    "exact": {"": Exact()},
    "ivf_faiss": {f"nprobe {nprobe}": IvfFaiss(nprobe=nprobe) for nprobe in (8, 16, 32, 64, 128)},
    "hnsw": {f"ef {ef}": Hnsw(ef=ef) for ef in (100, 200, 400, 800)},
}


def ours(kind: str, made: World) -> Iterator[dict[str, Any]]:
    """Measure one of our kinds at all of its settings."""
    for setting, index in KINDS[kind].items():
        torch.set_num_threads(2)
        began = time.perf_counter()
        searcher = index.build(made.videos, np.arange(len(made.videos)), Geometry.cosine)
        build_s = time.perf_counter() - began
        torch.set_num_threads(1)
        figures = searches.measured(lambda user: searcher.search(user[None], K).ids[0], made.users, made.best)  # noqa: B023
        yield {"setting": setting, "build_s": round(build_s, 1)} | figures


def peer(name: str, python: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Measure a library in its own environment."""
    command = [python, str(CHECKOUT / "benchmarks" / "peers" / "searches.py"), name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    yield from (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--peer", action="append", default=[], help="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    peers = dict(each.split("=", 1) for each in arguments.peer)
    made = world(arguments.videos, arguments.dim)
    with tempfile.TemporaryDirectory() as folder:
        made.save(Path(folder))
        for turn in range(arguments.rounds):
            for name in (*arguments.kinds, *peers):
                began = time.perf_counter()
                rows = list(peer(name, peers[name], Path(folder)) if name in peers else ours(name, made))
                command = f"python -m benchmarks.hotpath --videos {arguments.videos} --dim {arguments.dim}"
                seconds = time.perf_counter() - began
                how = Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak_mb(), threads=1)
                shared = {"videos": arguments.videos, "dim": arguments.dim, "round": turn, "index": name}
                record("hotpath", [shared | row for row in rows], how)
                for row in rows:
                    print(name, row, flush=True)


if __name__ == "__main__":
    main()
