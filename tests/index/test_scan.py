"""The bound on the error of scores by bytes, and what follows from it: an exact answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Exact, top_k
from towers.index.codes import blocks_of
from towers.index.scan import about_kth_highest, begin, best_of, falling
from towers.types import DataError, Geometry

WORLDS = {
    "round": lambda draw, shape: draw.standard_normal(shape),
    "one long axis": lambda draw, shape: draw.standard_normal(shape) * np.r_[1e4, np.ones(shape[1] - 1)],
    "far from the origin": lambda draw, shape: 1000 + draw.standard_normal(shape),
    "heavy tails": lambda draw, shape: draw.standard_cauchy(shape),
    "tiny": lambda draw, shape: draw.standard_normal(shape) * 1e-30,
    "huge": lambda draw, shape: draw.standard_normal(shape) * 1e15,
    "many alike": lambda draw, shape: draw.integers(0, 2, shape),
}


@pytest.mark.parametrize("world", WORLDS)
@given(seed=st.integers(0, 1000), dim=st.sampled_from([1, 3, 8, 17]))
def test_no_score_is_further_from_the_truth_than_the_bound_says(world: str, seed: int, dim: int) -> None:
    draw = np.random.default_rng(seed)
    vectors, queries = (WORLDS[world](draw, (n, dim)).astype(np.float32) for n in (40, 3))
    blocks, frame = blocks_of(vectors, np.arange(40))
    asked, bounds = begin(queries, frame, 5)
    codes = blocks.codes.reshape(-1, blocks.codes.shape[1] // 64, 16, 4).transpose(0, 2, 1, 3).reshape(48, -1)[:40]
    sums = codes.astype(np.int64) @ asked.numbers[:3].astype(np.int64).T - asked.bias
    high = sums.astype(np.float32) * blocks.scales[:40, None]
    low = high - bounds.doubt * blocks.scales[:40, None]
    exact = (vectors.astype(np.float64) @ queries.astype(np.float64).T - bounds.base) / bounds.unit
    assert (exact <= high + bounds.slack).all()
    assert (exact >= low - bounds.slack).all()


@pytest.mark.parametrize("world", WORLDS)
@given(seed=st.integers(0, 1000), n=st.integers(1, 900), k=st.sampled_from([1, 10, 200]), q=st.integers(1, 9))
def test_exact_finds_the_scores_of_top_k(world: str, seed: int, n: int, k: int, q: int) -> None:
    draw = np.random.default_rng(seed)
    vectors, queries = (WORLDS[world](draw, (rows, 5)).astype(np.float32) for rows in (n, q))
    found = Exact().build(vectors, np.arange(n), Geometry.dot).search(queries, k)
    wanted = top_k(queries, vectors, k)
    np.testing.assert_array_equal(found.found, wanted.found)
    some = slice(None), slice(0, min(n, k))
    tolerance = 1e-6 * np.linalg.norm(vectors, axis=1).max() * np.linalg.norm(queries, axis=1, keepdims=True)
    assert (np.abs(found.scores[some] - wanted.scores[some]) <= tolerance).all()


def test_scores_beyond_float32_are_refused() -> None:
    index = Exact().build(np.full((3, 2), 1e20, np.float32), np.arange(3), Geometry.dot)
    with pytest.raises(DataError, match=r"scores can reach 2e\+40, beyond float32's 3.4e\+38; scale"):
        index.search(np.full((2, 2), 1e20, np.float32), 1)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=300))
def test_falling_sorts_as_numpy_does(numbers: list[float]) -> None:
    scores = np.array(numbers, np.float32)
    places = falling(scores)
    assert sorted(places.tolist()) == list(range(len(scores)))
    np.testing.assert_array_equal(scores[places], -np.sort(-scores))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=300), st.integers(1, 300))
def test_at_least_k_numbers_reach_about_the_kth_highest(numbers: list[float], k: int) -> None:
    scores, k = np.array(numbers, np.float32), min(k, len(numbers))
    least = about_kth_highest(scores, k)
    assert (scores >= least).sum() >= k
    assert least >= np.sort(scores)[-k] - (scores.max() - scores.min()) / 200


def test_equal_scores_are_ordered_by_id_whatever_their_slots() -> None:
    blocks, _ = blocks_of(np.ones((5, 2), np.float32), np.array([30, 10, 50, 20, 40]))
    slots, scores = best_of(blocks, np.array([1, -1], np.float32), np.arange(5, dtype=np.int32), 3)
    assert (blocks.ids[slots].tolist(), scores.tolist()) == ([10, 20, 30], [0, 0, 0])


def test_the_best_of_many_are_found_whatever_their_range() -> None:
    vectors = np.random.default_rng(0).permutation(np.linspace(-3e38, 3e38, 500)).astype(np.float32)[:, None]
    blocks, _ = blocks_of(np.zeros((500, 1), np.float32), np.arange(500))
    blocks.vectors[:500] = vectors
    for query, order in ((1, -vectors[:, 0]), (-1, vectors[:, 0])):
        slots, scores = best_of(blocks, np.array([query], np.float32), np.arange(500, dtype=np.int32), 3)
        assert slots.tolist() == np.argsort(order)[:3].tolist()
        assert scores.tolist() == (-np.sort(order)[:3]).tolist()
