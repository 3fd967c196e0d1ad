"""What is FAISS's own: recall with the efforts that it is searched with, also where lengths differ a lot."""

import numpy as np
import pytest

from towers.index import Exact, Hnsw, Index, IvfFaiss, IvfPq, IvfRabitq, measured_recall
from towers.index.faiss_searcher import FaissSearcher
from towers.types import Geometry

N, DIM = 4000, 16
KINDS: dict[str, Index] = {
    "hnsw": Hnsw(ef=64, factor=2.0),
    "ivf_faiss": IvfFaiss(nlist=60, nprobe=24),
    "ivf_pq": IvfPq(nlist=60, nprobe=24),
    "ivf_rabitq": IvfRabitq(nlist=60, nprobe=24),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def catalogue(spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Clustered videos whose lengths differ by e^spread, and users of length 1."""
    random = np.random.default_rng(0)
    centers = random.standard_normal((40, DIM))
    videos, users = (centers[random.integers(0, 40, count)] + random.normal(0, 0.7, (count, DIM)) for count in (N, 100))
    lengths = np.exp(random.normal(0, spread, (N, 1)))
    unit = videos / np.linalg.norm(videos, axis=1, keepdims=True) * lengths
    return unit.astype(np.float32), (users / np.linalg.norm(users, axis=1, keepdims=True)).astype(np.float32)


def recall(index: Index, spread: float) -> float:
    videos, users = catalogue(spread)
    searcher, exact = (each.build(videos, np.arange(N), Geometry.dot) for each in (index, Exact()))
    return measured_recall(searcher, exact, users, 20)


@kinds
@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_lengths_that_differ_cost_little_recall(kind: str, spread: float) -> None:
    assert recall(KINDS[kind], spread) > 0.95


@kinds
def test_lists_are_lifted_and_a_graph_is_not_as_the_other_way_finds_less(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_it_is = recall(KINDS[kind], 1.0)
    monkeypatch.setattr(type(KINDS[kind]), "lifted", kind == "hnsw")
    assert recall(KINDS[kind], 1.0) < as_it_is - 0.02


@kinds
def test_only_lists_of_dot_geometry_get_one_more_dimension(kind: str) -> None:
    videos, _ = catalogue(0.0)
    dot, cosine = (KINDS[kind].build(videos, np.arange(N), geometry) for geometry in (Geometry.dot, Geometry.cosine))
    assert isinstance(dot, FaissSearcher)
    assert isinstance(cosine, FaissSearcher)
    assert (dot.codes.d, cosine.codes.d) == (16 if kind == "hnsw" else 32, 16)
