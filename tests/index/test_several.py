"""Several queries for each user: a video's score is the best that any of them gives it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Exact, top_k
from towers.index.several import for_each, merged
from towers.types import DataError, Geometry, Hits


def brute(queries: np.ndarray, vectors: np.ndarray, k: int, exclude: list[np.ndarray]) -> Hits:
    scores = np.einsum("uid,nd->uin", queries, vectors).max(axis=1)
    for row, gone in enumerate(exclude):
        scores[row, gone] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, k)), constant_values=-np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, best, axis=1)
    return Hits(np.where(np.isfinite(scores), best, -1), scores)


FEW = st.integers(1, 12)


@given(seed=st.integers(0, 1000), users=st.integers(0, 4), each=st.integers(1, 4), n=FEW, k=FEW)
def test_merged_lists_are_the_best_of_all_queries(seed: int, users: int, each: int, n: int, k: int) -> None:
    draw = np.random.default_rng(seed)
    queries, vectors = (draw.integers(-2, 3, shape).astype(np.float32) for shape in ((users, each, 3), (n, 3)))
    exclude = [np.flatnonzero(draw.random(n) < 0.3) for _ in range(users)]
    wanted = brute(queries, vectors, k, exclude)
    offsets = np.concatenate([[0], np.cumsum([len(gone) for gone in exclude])]).astype(np.int64)
    columns = np.concatenate([np.zeros(0, np.int64), *exclude])
    searched = Exact().build(vectors, np.arange(n), Geometry.dot).search(queries, k, exclude)
    for found in (top_k(queries, vectors, k, offsets, columns), searched):
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.scores, wanted.scores)


def test_equal_scores_go_by_the_lower_id_and_empty_slots_stand_last() -> None:
    ids, scores = np.array([[8, 2, -1], [2, 5, -1]]), np.array([[1, 1, -np.inf], [3, 1, -np.inf]], np.float32)
    found = merged(Hits(ids, scores), 2)
    assert (found.ids.tolist(), found.scores.tolist()) == ([[2, 5, 8]], [[3, 1, 1]])
    alone = merged(Hits(ids, scores), 1)
    assert alone.ids.tolist() == [[2, 8, -1], [2, 5, -1]]


def test_a_users_list_is_repeated_for_each_query() -> None:
    offsets, columns = for_each(np.array([0, 0, 2]), np.array([4, 7]), 3)
    assert offsets.tolist() == [0, 0, 0, 0, 2, 4, 6]
    assert columns.tolist() == [4, 7, 4, 7, 4, 7]


def test_lists_are_counted_before_they_are_repeated_for_each_query() -> None:
    index = Exact().build(np.eye(4, dtype=np.float32), np.arange(4), Geometry.cosine)
    with pytest.raises(DataError, match="exclude holds 2 lists for 3 queries; give one per query, empty ones too"):
        index.search(np.ones((3, 2, 4), np.float32), 1, exclude=[np.array([0]), np.array([1])])
