"""Takes a request apart: from a user's id to the JSON of a hundred videos' ids and scores, in process, one thread.

    python -m benchmarks.requests kuairand --bundle runs/recency/bundle runs/gated/bundle
    python -m benchmarks.requests made --videos 1000000

Whole requests and requests taken apart alternate, each of another user, so that both find the processor's caches as the
one before left them. JSON is the standard library's, since the package depends on no other. Times are the thread's
processor time: what others do on the machine shows in its caches alone.
Rows go to benchmarks/results/requests.csv, the picture to benchmarks/requests-NAME.png.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from benchmarks.record import CHECKOUT, Circumstances, record
from towers.data import TIME_UNKNOWN, Encoders, Positives, Vocabulary
from towers.features import FeatureTable, Requests
from towers.index import Auto
from towers.models import MeanHistory, ModelConfig, TwoTower, arrays_of, query_vectors
from towers.publishing import Bundle
from towers.publishing.parity import Material, requests_of
from towers.serving import Ask, Candidates, Retriever

PARTS = ("ids", "tower", "search", "filter", "answer", "json")
COLORS = ("#64748b", "#c2410c", "#1d4ed8", "#60a5fa", "#334155", "#0f766e")
LEVELS = {"ids to rows": PARTS[:1], "user tower": PARTS[1:2], "index": PARTS[2:4], "answer to text": PARTS[4:]}
"""What the parts are of, in the order in which they run."""
RAW = ("tower", "search", "filter")
K, BATCH = 100, 64
Spent = dict[str, list[float]]


@dataclass(frozen=True)
class Case:
    """A retriever and what is asked of it.

    Attributes:
        name: Of the data.
        retriever: What answers.
        users: Ids, in a random order.
        exclude: Videos that no request may be given.
    """

    name: str
    retriever: Retriever
    users: list[int]
    exclude: np.ndarray

    @property
    def encoder(self) -> str:
        """The kind of the history encoder."""
        return self.retriever.bundle.tower_arrays.kind


def opened(name: str, folder: str, excluded: int) -> Case:
    """Return the case of a bundle: users with 20 positives and more."""
    retriever, rng = Retriever.open(folder), np.random.default_rng(0)
    bundle = retriever.bundle
    rows = rng.permutation(np.flatnonzero(bundle.positives.counts() >= 20))
    hidden = rng.choice(np.arange(2, len(bundle.videos)), excluded, replace=False)
    users = np.asarray(bundle.users.ids(rows[rows > 1]))
    return Case(name, retriever, users.tolist(), np.asarray(bundle.videos.ids(hidden)))


def made(videos: int, excluded: int, users: int = 100_000, dim: int = 64, window: int = 50) -> Case:
    """Return the case of a made-up catalogue: clustered vectors of length 1, a mean of 50 events, ids of 60 bits."""
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    config = ModelConfig(history=MeanHistory(), dim=dim, window=window)
    known = torch.ones(2, dtype=torch.bool)
    towers = TwoTower(config, Encoders(users=(), videos=()), known).eval()
    centers = rng.normal(size=(2000, dim)).astype(np.float32)
    cluster = (2000 * rng.random(videos) ** 2).astype(np.int64)
    vectors = np.zeros((videos + 2, dim), np.float32)
    vectors[2:] = centers[cluster] + rng.standard_normal((videos, dim), np.float32)
    vectors[2:] /= np.linalg.norm(vectors[2:], axis=1, keepdims=True)
    watched = np.argsort(cluster, kind="stable")[(rng.integers(0, videos, (users, 1)) + np.arange(window)) % videos]
    positives = Positives(
        np.concatenate([[0, 0, 0], window * np.arange(1, users + 1)]),
        (watched + 2).astype(np.int32).ravel(),
        np.full(watched.size, TIME_UNKNOWN),
        np.ones(watched.size, np.float32),
    )
    features = FeatureTable(np.zeros((users + 2, 0), np.int32))
    some = np.sort(rng.permutation(users)[:1000]) + 2
    queries = query_vectors(towers, vectors, requests_of(towers.window, positives, some), features.take(some))
    index = Auto().build(vectors[2:], np.arange(2, videos + 2), towers.geometry, queries)
    names = [Vocabulary.from_ids(rng.permutation(2**60 + 7 * np.arange(count))) for count in (users, videos)]
    bundle = Bundle.__new__(Bundle)  # which is in no folder
    bundle.manifest = {"version": "made"}
    material = Material(arrays_of(towers), vectors, positives, features, index)
    vars(bundle).update(
        vars(material), towers=towers, tower_arrays=material.towers, users=names[0], videos=names[1], material=material
    )
    hidden = rng.choice(names[1].known, excluded, replace=False)
    return Case("made", Retriever(bundle), rng.permutation(names[0].known).tolist(), hidden)


class Apart:
    """A request part by part, as the retriever does it."""

    def __init__(self, case: Case) -> None:
        self.retriever: Any = case.retriever  # its parts are its own
        self.case = case
        self.spent: Spent = {part: [] for part in PARTS}

    def ask(self, user_id: int) -> None:
        """Answer one user, and write down what each part took."""
        own, clock, marks = self.retriever, time.thread_time_ns, []
        marks.append(clock())
        asked = own._asking.rows(Ask(user_id, K, self.case.exclude))
        requests = Requests(asked.history[None], asked.history_ms[None], np.array([TIME_UNKNOWN]))
        marks.append(clock())
        query = own._user_tower.queries(requests, asked.user)
        marks.append(clock())
        hits = own._catalogue.index.search(query, K, [asked.hidden])
        marks.append(clock())
        answer = own._answer(hits.ids[0], hits.scores[0], K, asked)
        marks.append(clock())
        as_json(answer)
        marks.append(clock())
        for part, took in zip(("ids", "tower", "search", "answer", "json"), np.diff(marks) / 1e3, strict=True):
            self.spent[part].append(float(took))

    def unfiltered(self, user_id: int) -> float:
        """Return what the search of one user takes when nothing is hidden, in microseconds."""
        query = self.retriever.embed_users([user_id])
        begin = time.thread_time_ns()
        self.retriever._catalogue.index.search(query, K)
        return (time.thread_time_ns() - begin) / 1e3


def as_json(answer: Candidates) -> str:
    """Return what a service would send."""
    return json.dumps({"ids": np.asarray(answer.ids).tolist(), "scores": answer.scores.tolist(), "way": answer.way})


def timed(work: Callable[[], object]) -> float:
    """Return what some work takes, in microseconds."""
    begin = time.thread_time_ns()
    work()
    return (time.thread_time_ns() - begin) / 1e3


def one_by_one(case: Case, requests: int) -> tuple[dict[str, list[float]], list[float]]:
    """Return what the parts of requests took and what whole ones took, in microseconds."""
    apart, whole, bare, count = Apart(case), [], [], len(case.users)
    for place in range(-requests // 4, requests):
        users = [case.users[(place + step * count // 3) % count] for step in range(3)]
        apart.ask(users[0])
        took = timed(lambda user=users[1]: case.retriever.candidates(user, K, exclude=case.exclude))  # type: ignore[misc]
        nothing_hidden = apart.unfiltered(users[2])
        if place >= 0:
            whole.append(took)
            bare.append(nothing_hidden)
    spent = {part: times[-requests:] for part, times in apart.spent.items()}
    filtered = statistics.median(spent["search"]) - statistics.median(bare)
    return spent | {"search": bare, "filter": [max(0.0, filtered)]}, whole


def in_batches(case: Case, batches: int = 40) -> list[float]:
    """Return what batches of users take, in microseconds."""
    found = []
    for place in range(-5, batches):
        group = np.roll(case.users, -BATCH * place)[:BATCH]
        took = timed(lambda group=group: case.retriever.candidates_batch(group, K))  # type: ignore[misc]
        if place >= 0:
            found.append(took)
    return found


def rows_of(case: Case, users: int, spent: Spent, whole: list[float]) -> list[dict[str, object]]:
    """Return a row for the whole and for each part; times are of a request, of one user or of all that ask at once."""
    medians = {part: statistics.median(times) for part, times in spent.items()}
    everything = statistics.median(whole)
    config, index = case.retriever.bundle.towers.config, case.retriever.bundle.index
    about = {
        "data": case.name,
        "videos": len(index),
        "dim": config.dim,
        "encoder": case.encoder,
        "window": config.window,
        "index": index.kind,
        "excluded": len(case.exclude),
        "users": users,
    }
    raw = sum(medians[part] for part in RAW) if spent else float("nan")
    found: list[dict[str, object]] = []
    for part, times in {"whole": whole, **spent}.items():
        middle, last, is_whole = statistics.median(times), float(np.percentile(times, 99)), part == "whole"
        found.append({
            **about,
            "part": part,
            "p50_us": f"{middle:.1f}",
            "p99_us": "" if part == "filter" else f"{last:.1f}",
            "share": f"{middle / everything:.3f}",
            "per_second": f"{users * 1e6 / statistics.fmean(times):.0f}" if is_whole else "",
            "over_raw": f"{everything / raw:.3f}" if is_whole and spent else "",
        })
    return found


def draw(cases: dict[str, list[dict[str, object]]], to: Path) -> None:
    """Draw each case as a flame hanging down: the whole request, what it is made of, and their parts."""
    figure, axes = plt.subplots(figsize=(11, 0.9 + 1.3 * len(cases)), layout="constrained")
    for place, rows in enumerate(cases.values()):
        took = {str(row["part"]): float(str(row["p50_us"])) for row in rows}
        whole, begin = took.pop("whole") + took["json"], 0.0
        flame(axes, (4 * place, 0.0), ("request", whole), "#0f172a")
        for level, parts in LEVELS.items():
            flame(axes, (4 * place + 1, begin), (level, sum(took[part] for part in parts)), "#334155")
            for part in parts:
                flame(axes, (4 * place + 2, begin), (part, took[part]), COLORS[PARTS.index(part)])
                begin += took[part]
        flame(axes, (4 * place + 1, begin), ("rest", max(0.0, whole - begin)), "#cbd5e1")
    axes.set_yticks([4 * place + 1 for place in range(len(cases))], list(cases))
    axes.invert_yaxis()
    axes.set(xlabel="one request to its JSON, one thread: processor time, µs, medians")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.canvas.draw()  # only what has been drawn has its width
    for bar, text in zip(axes.patches, axes.texts, strict=True):
        text.set_visible(text.get_window_extent().width < bar.get_window_extent().width)
    figure.savefig(to, dpi=110)
    plt.close(figure)


def flame(axes: Axes, at: tuple[int, float], named: tuple[str, float], color: str) -> None:
    """Draw a part: its line and where it begins, its name and how long it is; its name is written where it fits."""
    (line, begin), (name, length) = at, named
    axes.barh(line, length, left=begin, color=color, edgecolor="white", height=0.96)
    text = f"{name} {length:.0f}"
    axes.text(begin + length / 2, line, text, ha="center", va="center", color="white", fontsize=8)


def main() -> None:
    """Measure, record and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the data; made: a made-up catalogue")
    parser.add_argument("--bundle", nargs="*", default=[], help="folders that `towers publish` wrote")
    parser.add_argument("--videos", type=int, default=1_000_000, help="of the made-up catalogue")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--excluded", type=int, default=200, help="videos that each request excludes")
    parser.add_argument("--trial", action="store_true", help="record and draw nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cases = [opened(arguments.name, folder, arguments.excluded) for folder in arguments.bundle]
    pictures = {}
    for case in cases or [made(arguments.videos, arguments.excluded)]:
        begin = time.perf_counter()
        rows = rows_of(case, 1, *one_by_one(case, arguments.requests))
        pictures[f"{case.encoder}\n{len(case.retriever.bundle.index):,} videos"] = rows
        rows = rows + rows_of(case, BATCH, {}, in_batches(case))
        for row in rows:
            print(*(f"{name} {row[name]}" for name in ("encoder", "users", *list(row)[8:]) if row[name]), flush=True)
        if not arguments.trial:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
            command = f"python -m benchmarks.requests {arguments.name}"
            how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - begin, peak_mb=peak, threads=1)
            record("requests", rows, how)
    if not arguments.trial:
        draw(pictures, CHECKOUT / "benchmarks" / f"requests-{arguments.name}.png")


if __name__ == "__main__":
    main()
