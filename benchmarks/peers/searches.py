"""Searches of libraries on vectors in a folder, as their users would run them.

    python searches.py hnswlib FOLDER

Builds, looks for the least effort of a search that reaches each recall aimed at, says what building took, and then
measures whenever a line of standard input names a way of asking: a line of JSON for each recall. Runs alone in an
environment that has numpy and the library, see benchmarks/hotpath.py.
"""

import ctypes
import gc
import importlib
import json
import shutil
import sys
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

K, WARM, CALLS = 100, 20, 30
AIMS = (0.9, 0.95, 0.98, 0.99, 0.995)
BUILDERS = 2
"""Threads that build an index."""
CHOOSING, FEW, AT_ONCE = 512, 128, 64
ROOM = 5000
"""Videos of a first build that is not counted: of its time and memory most are for loading and compiling code."""
Effort = Any
Recall = Callable[..., float]


@dataclass(frozen=True)
class Library:
    """An index that has been built.

    Attributes:
        prepare: Sets how far searches go, and how many threads of the library's own a call may use.
        search: Returns ids, [q, K], for queries, [q, d].
        choose: Returns the least effort that reaches a recall, given what measures an effort's.
        say: Names an effort.
        aims: The recalls to reach.
    """

    prepare: Callable[[Effort, int], object]
    search: Callable[[np.ndarray], np.ndarray]
    choose: Callable[[float, Recall], Effort]
    say: Callable[[Effort], str]
    aims: Sequence[float] = AIMS


@dataclass(frozen=True)
class Mode:
    """A way of asking.

    Attributes:
        batch: How many users one call asks for.
        threads: How many threads are busy: the library's own where a call asks for several users, and otherwise
            ones of Python that call at the same time.
    """

    batch: int
    threads: int

    @property
    def callers(self) -> int:
        """How many threads call at the same time."""
        return self.threads if self.batch == 1 else 1

    @property
    def inside(self) -> int:
        """How many threads a call may use."""
        return 1 if self.batch == 1 else self.threads


def least(efforts: Sequence[Effort], aim: float, recall: Recall) -> Effort:
    """Return the least of rising efforts whose recall reaches an aim, or the last."""
    return efforts[min(bisect_left(efforts, aim, key=recall), len(efforts) - 1)]


def rising(low: float, high: float, step: float = 1.08) -> list[int]:
    """Return whole numbers from low to high, each at least a step times the one before.

    Example:
        >>> rising(2, 9, 1.5)
        [2, 3, 4, 7, 9]
    """
    steps = int(np.log(max(high / low, 1)) / np.log(step))
    return sorted({round(low * step**place) for place in range(steps + 1)} | {int(high)})


def graph(prepare: Callable[[int, int], object], search: Callable[[np.ndarray], np.ndarray]) -> Library:
    """Return a library whose searches have a queue of some length, of which there must be K."""
    return Library(prepare, search, partial(least, rising(K, 5000)), lambda ef: f"ef {ef}")


def lists(
    prepare: Callable[[tuple[int, int], int], object], search: Callable[[np.ndarray], np.ndarray], count: int, n: int
) -> Library:
    """Return a library whose searches look into lists by codes, and score some again.

    As many are scored again as lose a third of what may be lost where all lists, or many, are looked into.
    """
    most = count if n <= 200_000 else count // 3

    def choose(aim: float, recall: Recall) -> tuple[int, int]:
        again = least(rising(K + 10, 5000, 1.15), 1 - (1 - aim) / 3, lambda again: recall((most, again), FEW))
        return least(rising(1, count), aim, lambda look: recall((look, again))), again

    return Library(prepare, search, choose, lambda effort: "lists {}, scored again {}".format(*effort))


def hnswlib(videos: np.ndarray) -> Library:
    """Graph over float32, M 16, ef 200 when built."""
    index = importlib.import_module("hnswlib").Index("ip", videos.shape[1])
    index.init_index(len(videos), M=16, ef_construction=200)
    index.add_items(videos, num_threads=BUILDERS)

    def prepare(ef: int, threads: int) -> None:
        index.set_ef(ef)
        index.set_num_threads(threads)

    return graph(prepare, lambda users: index.knn_query(users, K)[0])


def usearch(videos: np.ndarray) -> Library:
    """Graph over float16, 16 neighbours, ef 128 when built."""
    library = importlib.import_module("usearch.index")
    index = library.Index(ndim=videos.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=128)
    index.add(np.arange(len(videos)), videos, threads=BUILDERS)
    allowed = [1]

    def prepare(ef: int, threads: int) -> None:
        index.expansion_search, allowed[0] = ef, threads

    def search(users: np.ndarray) -> np.ndarray:
        if len(users) == 1:
            return np.asarray(index.search(users[0], K, threads=1).keys)[None]
        return np.asarray(index.search(users, K, threads=allowed[0]).keys)

    return graph(prepare, search)


def voyager(videos: np.ndarray) -> Library:
    """Graph over float32, M 16, ef 200 when built."""
    library = importlib.import_module("voyager")
    index = library.Index(library.Space.InnerProduct, videos.shape[1], M=16, ef_construction=200)
    index.add_items(videos, num_threads=BUILDERS)
    chosen = [K, 1]

    def prepare(ef: int, threads: int) -> None:
        chosen[:] = ef, threads

    return graph(prepare, lambda users: index.query(users, K, num_threads=chosen[1], query_ef=chosen[0])[0])


def svs(videos: np.ndarray) -> Library:
    """Graph (Vamana) over float16, degree 32, window 128 when built.

    Of 20,000 made-up videos, and of those of a bundle, codes of 4 bits and 8 more (LVQ), of 8, and of 8 and 8 more were
    slower at a recall of .99, or did not reach it.
    """
    library = importlib.import_module("svs")
    parameters = library.VamanaBuildParameters(alpha=0.95, graph_max_degree=32, window_size=128)
    half = videos.astype(np.float16)
    index = library.Vamana.build(parameters, half, library.DistanceType.MIP, num_threads=BUILDERS)

    def prepare(window: int, threads: int) -> None:
        index.search_window_size, index.num_threads = window, threads

    return graph(prepare, lambda users: index.search(users, K)[0])


def scann(videos: np.ndarray) -> Library:
    """Tree of 2 √n leaves, anisotropic codes of 4 bits for 2 dimensions, float32 for what is scored again."""
    leaves = round(2 * len(videos) ** 0.5)
    build = importlib.import_module("scann").scann_ops_pybind.builder(videos, K, "dot_product")
    tree = build.tree(leaves, leaves // 10, training_sample_size=min(len(videos), 250_000))
    index = tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(600)
    index = index.set_n_training_threads(BUILDERS).build()
    chosen: dict[str, int] = {}
    allowed = [1]

    def prepare(effort: tuple[int, int], threads: int) -> None:
        chosen.update(leaves_to_search=effort[0], pre_reorder_num_neighbors=effort[1])
        index.set_num_threads(threads)
        allowed[0] = threads

    def search(users: np.ndarray) -> np.ndarray:
        if len(users) == 1:
            return np.asarray(index.search(users[0], **chosen)[0])[None]
        if allowed[0] == 1:
            return np.asarray(index.search_batched(users, **chosen)[0])
        share = -(-len(users) // allowed[0])
        return np.asarray(index.search_batched_parallel(users, batch_size=share, **chosen)[0])

    return lists(prepare, search, leaves, len(videos))


def faiss(videos: np.ndarray) -> Library:
    """Lists, 4 √n but 4096 at most, codes of 4 bits for 2 dimensions (1 if odd), float32 for what is scored again."""
    library = importlib.import_module("faiss")
    library.omp_set_num_threads(BUILDERS)
    count, dim = videos.shape
    many = min(4096, round(4 * count**0.5), count // 39)
    codes = dim if dim % 2 else dim // 2
    index = library.index_factory(dim, f"IVF{many},PQ{codes}x4fsr,RFlat", library.METRIC_INNER_PRODUCT)
    inside = library.extract_index_ivf(index)
    inside.cp.spherical = True
    some = np.sort(np.random.default_rng(0).permutation(count)[: 64 * many])
    index.train(videos[some])
    for start in range(0, count, 1 << 20):
        index.add(np.ascontiguousarray(videos[start : start + (1 << 20)]))

    def prepare(effort: tuple[int, int], threads: int) -> None:
        inside.nprobe, index.k_factor = effort[0], effort[1] / K
        library.omp_set_num_threads(threads)

    return lists(prepare, lambda users: index.search(users, K)[1], many, count)


PEERS = {"hnswlib": hnswlib, "usearch": usearch, "voyager": voyager, "scann": scann, "faiss": faiss, "svs": svs}


GRAPHS = ("hnswlib", "usearch", "voyager", "svs")


def lifted(videos: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return videos of length 1 and users with one dimension more, whose inner products have the same order.

    Graphs of inner products lose short vectors: where lengths differ, their users lift them. Source: Bachrach et al.
    2014, Speeding up the Xbox recommender system.

    Example:
        >>> videos, users = lifted(np.array([[3.0, 0], [0, 5]]), np.array([[1.0, 2]]))
        >>> videos.astype(float).round(2).tolist(), users.tolist()
        ([[0.6, 0.0, 0.8], [0.0, 1.0, 0.0]], [[1.0, 2.0, 0.0]])
    """
    lengths = np.linalg.norm(videos.astype(np.float64), axis=1)
    rest = np.sqrt(np.maximum(1 - (lengths / lengths.max()) ** 2, 0))
    wide = np.column_stack([videos / lengths.max(), rest])
    return wide.astype(np.float32), np.pad(users, ((0, 0), (0, 1))).astype(np.float32)


def share_found(ids: np.ndarray, best: np.ndarray) -> float:
    """Return which share of the best were found, row by row."""
    return sum(len(np.intersect1d(*pair)) for pair in zip(ids, best, strict=True)) / best.size


def chosen_efforts(library: Library, users: np.ndarray, best: np.ndarray) -> list[Effort]:
    """Return the effort for each aim."""

    @cache
    def recall(effort: Effort, count: int = CHOOSING) -> float:
        library.prepare(effort, BUILDERS)
        parts = [slice(start, min(start + AT_ONCE, count)) for start in range(0, min(count, len(users)), AT_ONCE)]
        found = [share_found(library.search(users[part])[:, :K], best[part]) for part in parts]
        return float(np.mean(found))

    return [library.choose(aim, recall) for aim in library.aims]


def measured(library: Library, users: np.ndarray, best: np.ndarray, mode: Mode) -> dict[str, Any]:
    """Return recall, what one call takes in µs, and how many users are answered a second."""
    starts = np.arange(0, len(users) - mode.batch + 1, mode.batch)
    starts = np.tile(starts, -(-CALLS // len(starts)))
    for start in starts[:WARM]:
        library.search(users[start : start + mode.batch])
    seconds, found = np.empty(len(starts)), np.full((len(starts), mode.batch, K), -1)

    def call(places: range) -> None:
        for place in places:
            asking = users[starts[place] : starts[place] + mode.batch]
            began = time.perf_counter()
            ids = library.search(asking)
            seconds[place] = time.perf_counter() - began
            found[place, :, : ids.shape[1]] = ids

    callers = [
        threading.Thread(target=call, args=(range(first, len(starts), mode.callers),)) for first in range(mode.callers)
    ]
    began = time.perf_counter()
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    wall = time.perf_counter() - began
    wanted = np.concatenate([best[start : start + mode.batch] for start in starts])
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e6
    return {
        "recall@100": round(share_found(found.reshape(-1, K), wanted), 4),
        "p50_us": round(p50, 1),
        "p99_us": round(p99, 1),
        "qps": round(len(starts) * mode.batch / wall),
    }


def private_bytes() -> int:
    """Return what this process alone holds: not what it has mapped from files."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def serve(build: Callable[[np.ndarray], Library], folder: Path) -> None:
    """Build, and answer each line of standard input with a row for each aim and an empty line."""
    videos = np.load(folder / "videos.npy", mmap_mode="c")
    users, best = (np.load(folder / f"{each}.npy") for each in ("users", "best"))
    build(np.array(videos[:ROOM]))
    before, began = private_bytes(), time.perf_counter()
    library = build(videos)
    build_s = time.perf_counter() - began
    held = (private_bytes() - before) / len(videos)
    efforts = chosen_efforts(library, users, best)
    print(json.dumps({"build_s": round(build_s, 1), "bytes_a_video": round(held)}), flush=True)
    for line in sys.stdin:
        mode = Mode(**json.loads(line))
        for aim, effort in zip(library.aims, efforts, strict=True):
            library.prepare(effort, mode.inside)
            about = {"aim": aim, "setting": library.say(effort)}
            print(json.dumps(about | measured(library, users, best, mode)))
        print(flush=True)


def main(name: str, folder: Path) -> None:
    """Serve a library; graphs get lifted vectors where lengths differ."""
    if name in GRAPHS and (folder / "geometry").read_text(encoding="utf-8") == "dot":
        vectors = (np.load(folder / f"{each}.npy") for each in ("videos", "users"))
        place = folder / "lifted"
        place.mkdir(exist_ok=True)
        for each, array in zip(("videos", "users"), lifted(*vectors), strict=True):
            np.save(place / f"{each}.npy", array)
        shutil.copy(folder / "best.npy", place)
        folder = place
    serve(PEERS[name], folder)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
