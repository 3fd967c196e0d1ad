"""Searches of other libraries on vectors in a folder, one user at a time on one thread: a line of JSON per setting.

    python searches.py hnswlib FOLDER

Runs alone in an environment that has numpy and the library; see benchmarks/hotpath.py.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Search = Callable[[np.ndarray], np.ndarray]
K, WARM = 100, 20


def hnswlib(videos: np.ndarray) -> Iterator[tuple[str, Search]]:
    """Graph, M 16, ef 200 when built."""
    index = importlib.import_module("hnswlib").Index("ip", videos.shape[1])
    index.init_index(len(videos), M=16, ef_construction=200)
    index.add_items(videos)
    index.set_num_threads(1)
    for ef in (100, 150, 200, 300, 500, 800):
        index.set_ef(ef)
        yield f"ef {ef}", lambda user: index.knn_query(user, K)[0][0]


def usearch(videos: np.ndarray) -> Iterator[tuple[str, Search]]:
    """Graph over float16."""
    library = importlib.import_module("usearch.index")
    index = library.Index(ndim=videos.shape[1], metric="ip", dtype="f16", connectivity=16, expansion_add=128)
    index.add(np.arange(len(videos)), videos)
    for ef in (100, 200, 300, 500, 800):
        index.expansion_search = ef
        yield f"ef {ef}", lambda user: index.search(user, K, threads=1).keys


def voyager(videos: np.ndarray) -> Iterator[tuple[str, Search]]:
    """Graph over float32."""
    library = importlib.import_module("voyager")
    index = library.Index(library.Space.InnerProduct, videos.shape[1], M=16, ef_construction=200)
    index.add_items(videos)
    for ef in (100, 200, 300, 500, 800):
        yield f"ef {ef}", partial(_queried, index, ef)


def _queried(index: Any, ef: int, user: np.ndarray) -> np.ndarray:  # noqa: ANN401
    return index.query(user, K, query_ef=ef)[0]


def scann(videos: np.ndarray) -> Iterator[tuple[str, Search]]:
    """Tree, anisotropic codes, reordering."""
    leaves = 1000 if len(videos) < 500_000 else 2000
    build = importlib.import_module("scann").scann_ops_pybind.builder(videos, K, "dot_product")
    tree = build.tree(leaves, leaves // 10, training_sample_size=min(len(videos), 250_000))
    index = tree.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(600).build()
    for look, again in ((10, 200), (15, 300), (20, 300), (30, 300), (30, 500), (50, 500), (80, 500), (120, 600)):
        yield f"leaves {look}, reorder {again}", partial(_searched, index, look, again)


def _searched(index: Any, look: int, again: int, user: np.ndarray) -> np.ndarray:  # noqa: ANN401
    return index.search(user, leaves_to_search=look, pre_reorder_num_neighbors=again)[0]


def measured(search: Search, users: np.ndarray, best: np.ndarray) -> dict[str, Any]:
    """Return recall, and what one search takes in µs."""
    for user in users[:WARM]:
        search(user)
    seconds, found = np.empty(len(users)), 0
    for row, user in enumerate(users):
        began = time.perf_counter()
        ids = search(user)
        seconds[row] = time.perf_counter() - began
        found += len(np.intersect1d(ids, best[row]))
    p50, p99 = np.percentile(seconds, (50, 99)) * 1e6
    return {
        "recall@100": round(found / best.size, 4),
        "p50_us": round(p50, 1),
        "p99_us": round(p99, 1),
        "qps": round(1 / seconds.mean()),
    }


PEERS = {"hnswlib": hnswlib, "usearch": usearch, "voyager": voyager, "scann": scann}


def main() -> None:
    """Measure one library."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    videos, users, best = (np.load(folder / f"{each}.npy") for each in ("videos", "users", "best"))
    began = time.perf_counter()
    for setting, search in PEERS[name](videos):
        build_s = time.perf_counter() - began
        print(
            json.dumps({"setting": setting, "build_s": round(build_s, 1)} | measured(search, users, best)), flush=True
        )
        began = time.perf_counter() - build_s


if __name__ == "__main__":
    main()
