"""Measures searches that may return only some videos, beside unfiltered ones and beside what users do without filters.

    python -m benchmarks.filters --videos 100000 1000000    # record
    python -m benchmarks.filters --videos 100000 --trial    # only show
    python -m benchmarks.filters --draw                     # the picture alone, from the recorded rows

The best hundred for one user at a time, on one thread. A filter leaves a share of the videos: some at random, or all
that lie nearest one of them, as a region's or a language's do. It is asked as a mask that is kept, as a mask that each
request combines anew, and by over-fetching: search for 100 / share, then drop what may not be shown. Unfiltered and
filtered searches take turns, so that the ratio of one row is of one time. Excluded videos are drawn at random, and
given as a list of ids with each request, or as a mask. Recall is of the true best hundred that are left.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Int64

from benchmarks.record import CHECKOUT, RESULTS, Circumstances, read, record
from benchmarks.vectors import LIKE, K, World, write_made
from towers.index import Ivf, Mask, Searcher, top_k
from towers.index.recall import share_found
from towers.types import Geometry, peak_mb

SHARES = (1.0, 0.5, 0.1, 0.01, 0.001)
EXCLUDED = (200, 10_000, 100_000)
WARM, LEAST, SECONDS = 20, 20, 5.0
"""Searches that are not timed; of slow ways so many are timed at least, and others for so long at most."""
PICTURE = CHECKOUT / "benchmarks" / "filters.png"
COLORS = {"random": "#c2410c", "near each other": "#1d4ed8"}
Way = Callable[[int], Int64[np.ndarray, " n"]]
"""Answers a user by row: the ids, best first, without empty slots."""


def taken(ways: Sequence[Way], users: int) -> tuple[list[np.ndarray], list[dict[int, np.ndarray]]]:
    """Return what each way took, in turns, µs, and what it found by user; slow ways ask fewer users.

    In one turn each way asks another user: none finds in the processor's caches what another has just read.
    """
    spent: list[list[float]] = [[] for _ in ways]
    found: list[dict[int, np.ndarray]] = [{} for _ in ways]
    for row in range(min(WARM, users)):
        for way in ways if row < 2 else ways[:2]:
            way(row)
    began = time.perf_counter()
    for turn in range(users):
        if turn >= LEAST and time.perf_counter() - began > SECONDS * len(ways):
            break
        for place, way in enumerate(ways):
            row = (turn + place * users // len(ways)) % users
            start = time.perf_counter()
            ids = way(row)
            spent[place].append(1e6 * (time.perf_counter() - start))
            found[place][row] = ids
    return [np.array(each) for each in spent], found


def plain(searcher: Searcher, users: np.ndarray, allow: Mask | None = None) -> Way:
    """Return the way that asks with a filter that is kept, or with none."""
    return lambda row: _found(searcher.search(users[row : row + 1], K, None, allow).ids[0])


def combining(searcher: Searcher, users: np.ndarray, one: Mask, other: Mask) -> Way:
    """Return the way that combines masks in each request."""
    return lambda row: _found(searcher.search(users[row : row + 1], K, None, one & other).ids[0])


def listing(searcher: Searcher, users: np.ndarray, gone: np.ndarray) -> Way:
    """Return the way that gives the ids that are left out in each request."""
    return lambda row: _found(searcher.search(users[row : row + 1], K, [gone]).ids[0])


def over_fetching(searcher: Searcher, users: np.ndarray, left: np.ndarray, fetched: int) -> Way:
    """Return the way that asks for more and drops what may not be shown; left says of each video whether it may."""

    def way(row: int) -> np.ndarray:
        ids = _found(searcher.search(users[row : row + 1], fetched).ids[0])
        return ids[left[ids]][:K]

    return way


def _found(ids: np.ndarray) -> np.ndarray:
    return ids[: np.count_nonzero(ids >= 0)]


def row_of(searcher: Searcher, made: World, left: np.ndarray, ways: dict[str, Way], fetched: int) -> dict[str, object]:
    """Return the figures of one filter.

    Args:
        searcher: What is searched.
        made: Vectors and users.
        left: Of each video whether it may be shown.
        ways: How to ask: kept first.
        fetched: How many must be fetched to drop the others.
    """
    users = made.users
    kept, *others = ways.values()
    every = [plain(searcher, users), kept, *others]
    (unfiltered, own, *more), (freely, given, *_) = taken(every, len(users))
    (fetching,), (dropped,) = taken([over_fetching(searcher, users, left, fetched)], len(users))
    allowed = np.flatnonzero(left)
    best = top_k(users, made.videos[allowed], K).ids
    truth = np.where(best < 0, -1, allowed[best])

    def recall(answers: dict[int, np.ndarray], wanted: np.ndarray) -> float:
        padded = np.array([np.pad(ids, (0, K - len(ids)), constant_values=-1) for ids in answers.values()])
        return share_found(wanted[list(answers)], padded)

    exists = min(K, len(allowed))
    p50s = dict(zip(list(ways)[1:], (np.median(each) for each in more), strict=True))
    return {
        "p50_us": f"{np.median(own):.1f}",
        "p99_us": f"{np.quantile(own, 0.99):.1f}",
        "recall@100": f"{recall(given, truth):.4f}",
        "short": sum(len(ids) < exists for ids in given.values()),
        "unfiltered_p50_us": f"{np.median(unfiltered):.1f}",
        "unfiltered_recall": f"{recall(freely, made.best):.4f}",
        **{f"{name}_p50_us": f"{p50s[name]:.1f}" if name in p50s else "" for name in ("anew", "list")},
        "over_fetch_p50_us": f"{np.median(fetching):.1f}",
        "over_fetch_recall": f"{recall(dropped, truth):.4f}",
        "over_fetch_short": f"{np.mean([len(ids) < exists for ids in dropped.values()]):.3f}",
        "times_faster": f"{np.median(fetching) / np.median(own):.1f}",
    }


def rows(searcher: Searcher, made: World, seed: int = 0) -> Iterator[dict[str, object]]:
    """Measure each filter."""
    n, draw = len(made.videos), np.random.default_rng(seed)
    blocked = ~Mask(draw.choice(n, 100, replace=False))
    orders = {
        "random": draw.permutation(n),
        "near each other": np.argsort(-(made.videos @ made.videos[draw.integers(n)]), kind="stable"),
    }
    for name, order in orders.items():
        for share in SHARES:
            ids = np.sort(order[: max(1, round(share * n))])
            left = np.zeros(n, bool)
            left[ids] = True
            mask = Mask(ids)
            ways = {
                "kept": plain(searcher, made.users, mask),
                "anew": combining(searcher, made.users, mask, blocked),
            }
            figures = row_of(searcher, made, left, ways, min(n, round(K / share)))
            yield {"filter": name, "share": f"{share:g}", "excluded": 0} | figures
    for count in EXCLUDED:
        if count > n // 4:
            continue
        gone = draw.choice(n, count, replace=False)
        left = np.ones(n, bool)
        left[gone] = False
        ways = {
            "kept": plain(searcher, made.users, ~Mask(gone)),
            "list": listing(searcher, made.users, gone),
        }
        figures = row_of(searcher, made, left, ways, K + count)
        yield {"filter": "excluded at random", "share": f"{1 - count / n:g}", "excluded": count} | figures


def draw(to: Path, folder: Path = RESULTS) -> None:
    """Draw what a search takes against the share of the videos that a filter leaves."""
    newest = {(row["videos"], row["filter"], row["share"]): row for row in read("filters", folder)}
    sizes = list(dict.fromkeys(videos for videos, _, _ in newest))
    figure, every = plt.subplots(1, len(sizes), figsize=(6 * len(sizes), 4.6), layout="constrained", squeeze=False)
    for axes, videos in zip(every[0], sizes, strict=True):
        for name, color in COLORS.items():
            own = [row for (many, which, _), row in newest.items() if (many, which) == (videos, name)]
            shares = [float(row["share"]) for row in own]
            for column, style, label in (
                ("p50_us", "o-", "filter in the search, p50"),
                ("p99_us", "o:", "p99"),
                ("over_fetch_p50_us", "x--", "over-fetched, p50"),
            ):
                axes.plot(shares, [float(row[column]) for row in own], style, color=color, label=f"{name}: {label}")
        axes.set(xscale="log", yscale="log", xlabel="share of the videos that may be shown", ylabel="µs a search")
        axes.set_title(f"{int(videos):,} videos", loc="left")
        axes.invert_xaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *every[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8, frameon=False
    )
    figure.savefig(to, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure, and record and draw unless it is a trial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--like", default="gowalla", choices=list(LIKE), help="whose towers the vectors lie like")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    for videos in () if arguments.draw else arguments.videos:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:  # what was mapped can be read after its files are gone
            made = write_made(Path(folder), LIKE[arguments.like], videos, arguments.dim, arguments.users)
        torch.set_num_threads(2)
        searcher = Ivf().build(made.videos, np.arange(videos), Geometry.cosine, made.others)
        torch.set_num_threads(1)
        measured = []
        for row in rows(searcher, made):
            measured.append({"videos": videos, "dim": arguments.dim} | row)
            print(row, flush=True)
        if not arguments.trial:
            command = (
                f"python -m benchmarks.filters --videos {videos} --dim {arguments.dim} --users {arguments.users}"
                f" --like {arguments.like}"
            )
            seconds = time.perf_counter() - began
            how = Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak_mb(), threads=1)
            record("filters", measured, how)
    if not arguments.trial:
        draw(PICTURE)


if __name__ == "__main__":
    main()
