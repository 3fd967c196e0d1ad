"""A guess that is mostly right saves work; one that is wrong costs some, and no answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Exact, top_k
from towers.index.guess import guess
from towers.index.instructions import SLOTS
from towers.index.look import gone_of, stock_of
from towers.index.request import Request
from towers.index.scan import begin
from towers.types import Geometry

N, K = 6000, 40


def guessed(vectors: np.ndarray, queries: np.ndarray, gone: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what the guess is of each query's k-th best, and what that is, in the query's units."""
    stock, q = stock_of(vectors, np.arange(len(vectors))), len(queries)
    excluded = np.tile(np.arange(gone), q)
    offsets = np.arange(q + 1) * gone
    request = Request(queries, stock.blocks.alive, offsets, excluded, np.empty((q, k), np.int64), queries)
    asked, bounds = begin(queries, stock.frame, k)
    guess(stock.blocks, stock.blocks.alive, stock.order, (asked, bounds, gone_of(stock, request)), k)
    best = np.sort(queries @ vectors[gone:].T, axis=1)[:, -k]
    return asked.least, (best - bounds.base) / bounds.unit


@pytest.mark.parametrize("gone", [0, 500])
def test_nearly_all_guesses_are_below_the_kth_best_and_above_most_others(gone: int) -> None:
    draw = np.random.default_rng(gone)
    vectors, queries = (draw.standard_normal((rows, 32)).astype(np.float32) for rows in (N, 200))
    least, best = guessed(vectors, queries, gone, K)
    assert (least <= best).mean() >= 0.98
    lower = guessed(vectors, queries, gone, 8 * (K + gone))[1]
    assert (least > lower).mean() >= 0.98


def test_where_the_sample_holds_the_best_the_guess_is_too_high_and_the_answer_true() -> None:
    draw = np.random.default_rng(0)
    vectors, queries = draw.standard_normal((N, 8)).astype(np.float32), np.ones((5, 8), np.float32)
    vectors[np.arange(N) // SLOTS % 13 == 0] += 2
    k = 800
    least, best = guessed(vectors, queries, 0, k)
    assert (least > best).all()
    hits = Exact().build(vectors, np.arange(N), Geometry.dot).search(queries, k)
    np.testing.assert_allclose(hits.scores, top_k(queries, vectors, k).scores, rtol=1e-5)


@given(seed=st.integers(0, 1000), q=st.integers(2, 40), k=st.integers(1, 300), gone=st.sampled_from([0, 3, 900]))
def test_answers_are_those_of_top_k_whatever_is_guessed(seed: int, q: int, k: int, gone: int) -> None:
    draw = np.random.default_rng(seed)
    n, d = draw.integers(1, 4000), draw.integers(1, 80)
    vectors, queries = (draw.integers(-9, 10, (rows, d)).astype(np.float32) for rows in (n, q))
    exclude = [draw.integers(0, n, gone) for _ in range(q)]
    hits = Exact().build(vectors, np.arange(n), Geometry.dot).search(queries, k, exclude)
    offsets = np.arange(q + 1) * gone
    wanted = top_k(queries, vectors, k, exclude_offsets=offsets, exclude=np.concatenate(exclude).astype(np.int64))
    np.testing.assert_array_equal(hits.ids, wanted.ids)
    np.testing.assert_array_equal(hits.scores, wanted.scores)
