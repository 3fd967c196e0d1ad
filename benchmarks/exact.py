"""Measures exact searches beside what the machine can do at most.

    python -m benchmarks.exact
    python -m benchmarks.exact --bundle runs/demo/bundle

First batches of 64 users among 100,000 videos of 64 dimensions on all cores, in turns with one large product of bytes
and one large copy: `limit_us` is the longer of the time that the product of a search takes at the first rate and its
bytes at the second, `share` that over the time of the search; `share_of_sgemm` is the time of the product alone at the
rate of a large one in float32, as a BLAS has it, over the same. With a bundle also what an evaluation ranks: all its
users, those of its videos, a hundred each, what they have watched left out, 1,024 users at a time. Rows go to
benchmarks/results/exact.csv.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.ceilings import copy_rate, product_rate
from benchmarks.record import Circumstances, record, usable_threads
from benchmarks.vectors import LIKE, drawn
from towers.index import Exact
from towers.serving import Retriever
from towers.types import Geometry, peak_mb

K, BATCH, AT_ONCE = 100, 64, 1024
LIMITS = ("gigaops_int8", "gb_per_s", "limit_us", "share", "sgemm_gflops", "share_of_sgemm")


def byte_rate(size: int = 2048) -> float:
    """Return the rate of one large product of bytes, in 10^9 operations a second."""
    left, right = (torch.randint(-100, 100, (size, size), dtype=torch.int8) for _ in range(2))
    torch._int_mm(left, right)
    began = time.perf_counter()
    for _ in range(3):
        torch._int_mm(left, right)
    return 3 * 2 * size**3 / (time.perf_counter() - began) / 1e9


def batches(videos: int, dim: int, rounds: int) -> list[dict[str, object]]:
    """Return rows of batches of users, a round each."""
    blocks, users = drawn(LIKE["kuairand"], videos, dim, 1024)
    searcher = Exact().build(np.concatenate(list(blocks)), np.arange(videos), Geometry.cosine)
    searcher.search(users[:BATCH], K)  # a new installation makes its machine code now
    rows = []
    for turn in range(rounds):
        operations, sgemm, copied, spent = byte_rate(), product_rate(torch.float32), copy_rate(), []
        for start in range(0, len(users), BATCH):
            began = time.perf_counter()
            searcher.search(users[start : start + BATCH], K)
            spent.append((time.perf_counter() - began) * 1e6)
        middle = float(np.median(spent))
        work = 2 * BATCH * videos * dim
        limit = max(work / operations, videos * dim / copied) / 1e3
        rows.append(row_of("batch of users", (BATCH, videos, dim), turn, spent))
        rows[-1] |= {"gigaops_int8": f"{operations:.0f}", "gb_per_s": f"{copied:.1f}"}
        rows[-1] |= {"limit_us": f"{limit:.0f}", "share": f"{limit / middle:.3f}"}
        rows[-1] |= {"sgemm_gflops": f"{sgemm:.0f}", "share_of_sgemm": f"{work / sgemm / 1e3 / middle:.3f}"}
    return rows


def row_of(what: str, sizes: tuple[int, int, int], turn: int, spent: list[float]) -> dict[str, object]:
    """Return a row without its limits."""
    row: dict[str, object] = {"what": what, **dict(zip(("users", "videos", "dim"), sizes, strict=True)), "round": turn}
    row |= {"p50_us": f"{np.median(spent):.0f}", "p99_us": f"{np.percentile(spent, 99):.0f}"}
    row["users_per_s"] = f"{sizes[0] * len(spent) / sum(spent) * 1e6:.0f}"
    return row | dict.fromkeys(LIMITS, "")


def evaluation(bundle: Path, rounds: int) -> list[dict[str, object]]:
    """Return rows of ranking all users of a bundle, a round each."""
    retriever = Retriever.open(bundle)
    known, rows = retriever.bundle, np.arange(2, len(retriever.bundle.users))
    users = retriever.embed_users(known.users.ids(rows))
    videos = known.index.ids
    searcher = Exact().build(np.asarray(known.vectors[videos]), videos, known.towers.geometry)
    offsets, watched = known.positives.offsets, np.asarray(known.positives.video_row, np.int64)
    seen = [watched[offsets[row] : offsets[row + 1]] for row in rows.tolist()]
    found = []
    for turn in range(rounds):
        began = time.perf_counter()
        for start in range(0, len(users), AT_ONCE):
            searcher.search(users[start : start + AT_ONCE], K, seen[start : start + AT_ONCE])
        spent = [(time.perf_counter() - began) * 1e6]
        found.append(row_of("evaluation", (len(users), len(videos), users.shape[1]), turn, spent))
    return found


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--bundle", help="whose users an evaluation would rank")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trial", action="store_true", help="record nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(usable_threads())
    began = time.perf_counter()
    rows = batches(arguments.videos, arguments.dim, arguments.rounds)
    rows += evaluation(Path(arguments.bundle), arguments.rounds) if arguments.bundle else []
    for row in rows:
        print(row)
    if not arguments.trial:
        seconds = time.perf_counter() - began
        how = Circumstances(command="python -m benchmarks.exact", seed=0, seconds=seconds, peak_mb=peak_mb())
        record("exact", rows, how)


if __name__ == "__main__":
    main()
