"""The exact search against a numpy oracle, in one block and in many."""

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.index import top_k
from towers.types import ConfigError, DataError, Hits

module = import_module("towers.index.in_torch")


def oracle(queries: np.ndarray, vectors: np.ndarray, k: int, excluded: list[list[int]]) -> Hits:
    scores = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    for row, columns in enumerate(excluded):
        scores[row, columns] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, k)), constant_values=-np.inf)
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(scores, ids, axis=1)
    return Hits(np.where(np.isfinite(best), ids, -1), best)


def flat(excluded: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in excluded])]).astype(np.int64)
    return offsets, np.array([column for row in excluded for column in row], np.int64)


# Whole numbers below 2^24 are exact in float32 in whatever order they are added, so ties are real ties.
@given(st.data())
def test_equals_the_oracle_with_ties_exclusions_and_any_blocks(data: st.DataObject) -> None:
    q, n, k = data.draw(st.integers(0, 6)), data.draw(st.integers(0, 30)), data.draw(st.integers(1, 35))
    seed, spread, widest = data.draw(st.integers(0, 99)), data.draw(st.integers(0, 4)), data.draw(st.integers(1, 40))
    random = np.random.default_rng(seed)
    queries = random.integers(-spread, spread + 1, (q, 3)).astype(np.float32)
    vectors = random.integers(-spread, spread + 1, (n, 3)).astype(np.float32)
    excluded = [random.choice(n, random.integers(0, n + 1), replace=False).tolist() for _ in range(q)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WIDEST", widest)
        hits = top_k(queries, vectors, k, *flat(excluded))
    expected = oracle(queries, vectors, k, excluded)
    np.testing.assert_array_equal(hits.ids, expected.ids)
    np.testing.assert_array_equal(hits.scores, expected.scores)


def test_all_vectors_equal_gives_the_lowest_columns() -> None:
    hits = top_k(np.ones((3, 4), np.float32), np.ones((50, 4), np.float32), 5)
    assert hits.ids.tolist() == [[0, 1, 2, 3, 4]] * 3


def test_small_and_large_blocks_agree() -> None:
    random = np.random.default_rng(0)
    queries = random.integers(-3, 4, (300, 8)).astype(np.float32)
    vectors = random.integers(-3, 4, (5000, 8)).astype(np.float32)
    small, large = top_k(queries, vectors, 20, block_mb=1), top_k(queries, vectors, 20)
    np.testing.assert_array_equal(small.ids, large.ids)


def test_takes_tensors_and_leaves_read_only_arrays_alone() -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors.setflags(write=False)
    assert top_k(torch.eye(3), torch.eye(3), 1).ids.tolist() == top_k(vectors, vectors, 1).ids.tolist()


def test_wrong_dimensions_name_both_numbers() -> None:
    with pytest.raises(DataError, match="queries have 3 dimensions, vectors have 4"):
        top_k(np.ones((1, 3), np.float32), np.ones((1, 4), np.float32), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_named(bad: float) -> None:
    vectors = np.ones((5, 2), np.float32)
    vectors[3, 1] = bad
    with pytest.raises(DataError, match="row 3 of vectors is not finite"):
        top_k(np.ones((1, 2), np.float32), vectors, 1)
    with pytest.raises(DataError, match="row 3 of queries is not finite"):
        top_k(vectors, np.ones((1, 2), np.float32), 1)


def test_scores_beyond_float32_are_refused() -> None:
    with pytest.raises(DataError, match=r"scores can reach 1e\+40, beyond float32's 3.4e\+38; scale"):
        top_k(np.array([[1e20]], np.float32), np.array([[1e20]], np.float32), 1)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="k=0"):
        top_k(np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), 0)


def test_exclusions_that_do_not_fit_are_refused() -> None:
    ones = np.ones((2, 2), np.float32)
    with pytest.raises(DataError, match="one of them is missing"):
        top_k(ones, ones, 1, exclude=np.array([0]))
    with pytest.raises(DataError, match="must rise from 0 to 1 in 3 steps"):
        top_k(ones, ones, 1, np.array([0, 1]), np.array([0]))
    with pytest.raises(DataError, match="columns 7 to 7; the vectors have columns 0 to 1"):
        top_k(ones, ones, 1, np.array([0, 1, 1]), np.array([7]))
