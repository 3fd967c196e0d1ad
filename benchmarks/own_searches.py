"""Searches of this package's own kinds, measured as those of other libraries are; see benchmarks/peers/searches.py.

python -m benchmarks.own_searches ivf FOLDER
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from benchmarks.peers.searches import BUILDERS, K, Library, least, serve
from towers.index import Exact, Index, Ivf, Searcher
from towers.index.ivf import IvfSearcher
from towers.index.openmp import faiss
from towers.types import Geometry

REACHES = (*np.arange(0.2, 6, 0.1).round(1).tolist(), *np.arange(6, 12.1, 0.5).tolist())


def built(index: Index, place: Path, videos: Float32[np.ndarray, "n d"], asked: bool = False) -> Searcher:
    """Return a searcher that was built on all the builders' threads, for users like those that will ask if asked."""
    torch.set_num_threads(BUILDERS)
    faiss.omp_set_num_threads(BUILDERS)
    geometry = Geometry((place / "geometry").read_text(encoding="utf-8"))
    return index.build(videos, np.arange(len(videos)), geometry, np.load(place / "others.npy") if asked else None)


def ivf(place: Path, videos: Float32[np.ndarray, "n d"], asked: bool = True) -> Library:
    """Return lists, whose reach is the effort; formed for other users than those who ask, or for nobody."""
    whole = built(Ivf(), place, videos, asked)
    found: dict[str, Searcher] = {}

    def prepare(reach: float, threads: int) -> None:
        torch.set_num_threads(threads)
        found["searcher"] = IvfSearcher(whole.stock, whole._lists, whole.geometry, 0, reach)  # type: ignore[attr-defined]

    return Library(
        prepare,
        lambda users: found["searcher"].search(users, K).ids,
        lambda aim, recall: least(REACHES, aim, recall),
        lambda reach: f"reach {reach}",
    )


def exact(place: Path, videos: Float32[np.ndarray, "n d"]) -> Library:
    """Return all videos, for which there is one effort."""
    searcher = built(Exact(), place, videos)
    return Library(
        lambda _, threads: torch.set_num_threads(threads),
        lambda users: searcher.search(users, K).ids,
        lambda *_: (),
        lambda _: "all",
        aims=(1.0,),
    )


OWN: dict[str, Callable[[Path, np.ndarray], Library]] = {
    "ivf": ivf,
    "exact": exact,
    "ivf_unasked": partial(ivf, asked=False),
}

if __name__ == "__main__":
    place = Path(sys.argv[2])
    serve(partial(OWN[sys.argv[1]], place), place)
