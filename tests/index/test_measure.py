"""How much memory an index holds, before and after it is built, and which searches are timed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from towers.index import Exact, Index, Ivf, IvfPq, IvfRabitq, Searcher, measure
from towers.index.measure import Questions, expected_mb, held_mb
from towers.types import Geometry, Hits

KINDS: dict[str, Index] = {"exact": Exact(), "ivf": Ivf(), "ivf_pq": IvfPq(), "ivf_rabitq": IvfRabitq()}


def vectors(n: int, dim: int) -> np.ndarray:
    drawn = np.random.default_rng(0).standard_normal((n, dim))
    return np.divide(drawn, np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize(("n", "dim"), [(3000, 16), (9000, 70)])
@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_known_before_an_index_is_built(kind: str, n: int, dim: int, geometry: Geometry) -> None:
    some = vectors(n, dim)
    searcher = KINDS[kind].build(some, np.arange(n), geometry)
    assert expected_mb(kind, some, geometry) == pytest.approx(held_mb(searcher), rel=0.15)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_is_the_files_less_the_vectors(kind: str, tmp_path: Path) -> None:
    searcher = KINDS[kind].build(vectors(3000, 64), np.arange(3000), Geometry.cosine)
    searcher.save(tmp_path)
    (largest,) = (path for path in tmp_path.rglob("vectors.npy") if "centers" not in path.parts)
    files = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) - largest.stat().st_size
    # Headers of files; and FAISS's names are held twice, once with -1 behind them.
    again = 8 * 3000 if kind.startswith("ivf_") else 0
    assert held_mb(searcher) * 1e6 == pytest.approx(files + again, abs=4096)


def test_codes_of_faiss_take_less_than_our_own() -> None:
    held = {
        kind: held_mb(index.build(vectors(9000, 128), np.arange(9000), Geometry.cosine))
        for kind, index in KINDS.items()
    }
    assert held["ivf_rabitq"] < held["ivf_pq"] < held["exact"] / 1.6 < held["ivf"] / 1.6


class Clocked(Searcher):
    """Answers nothing; each search takes what it is told of the query and the turn, on a clock of its own."""

    kind, exact, ids, dim, longest = "clocked", False, np.arange(1), 1, 1.0

    def __init__(self, seconds: Callable[[float, int], float]) -> None:
        super().__init__(Geometry.dot)
        self.seconds, self.now = seconds, 0.0
        self.turns: Counter[float] = Counter()

    def _find(self, queries: np.ndarray, k: int, *_: Any) -> Hits:  # noqa: ANN401
        asked = float(queries[0, 0])
        self.turns[asked] += 1
        self.now += self.seconds(asked, self.turns[asked])
        return Hits(np.zeros((1, k), int), np.zeros((1, k), np.float32))

    @classmethod
    def load(cls, _folder: Path, _header: dict[str, Any]) -> Searcher:
        return cls(lambda *_: 0.0)

    def _save(self, _folder: Path) -> dict[str, Any]:
        return {}


def timed(monkeypatch: pytest.MonkeyPatch, count: int, seconds: Callable[[float, int], float]) -> np.ndarray:
    searcher = Clocked(seconds)
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: searcher.now))
    queries = np.arange(count, dtype=np.float32)[:, None]
    took = Questions(queries, np.zeros((count, 100), int)).times_us(searcher)
    assert set(searcher.turns.values()) == {3}
    return took


def test_the_best_of_three_turns_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Query 0 takes 1 µs, 1 takes 2, …; each is disturbed in two of the turns, one after the other.
    took = timed(monkeypatch, 5, lambda asked, turn: (asked + 1) * 1e-6 + (0.01 if turn != 1 + asked % 3 else 0))
    np.testing.assert_allclose(took, [1, 2, 3, 4, 5], rtol=1e-6)


def test_slow_searches_are_timed_by_a_hundred_quick_ones_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(timed(monkeypatch, 300, lambda *_: 0.1)) == 100
    assert len(timed(monkeypatch, 300, lambda *_: 0.003)) == 167  # the first after which half a second is over
    assert len(timed(monkeypatch, 300, lambda *_: 0.001)) == 300


def test_of_too_many_queries_some_from_all_over_are_taken() -> None:
    some = vectors(2500, 4)
    questions = Questions.to(Exact().build(some[:50], np.arange(50), Geometry.cosine), some)
    np.testing.assert_array_equal(questions.queries, some[::3])
    assert questions.wanted.shape == (834, 100)
