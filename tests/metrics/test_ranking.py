import math
from collections.abc import Callable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.metrics import CUTOFFS, PER_USER, found, hit_matrix, mrr, per_user
from towers.types import ConfigError, DataError

DEPTH = 12


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Hits [q, DEPTH] and at least as many relevant videos as hits, [q]."""
    users = draw(st.integers(1, 6))
    hits = np.array(draw(st.lists(st.booleans(), min_size=users * DEPTH, max_size=users * DEPTH))).reshape(users, DEPTH)
    more = np.array(draw(st.lists(st.integers(0, 20), min_size=users, max_size=users)))
    return hits, np.maximum(1, hits.sum(1) + more)


def test_one_user_by_hand() -> None:
    # shown: miss, hit, miss, hit; five to find. At k = 4: 2 hits, precision 2/4, recall 2/5, capped 2/4,
    # f1 = 2 · .5 · .4 / .9, dcg = 1/log2(3) + 1/log2(5), ideal = 1 + 1/log2(3) + 1/log2(4) + 1/log2(5).
    hits, relevant = np.array([[False, True, False, True]]), np.array([5])
    dcg = 1 / math.log2(3) + 1 / math.log2(5)
    ideal = 1 + 1 / math.log2(3) + 1 / 2 + 1 / math.log2(5)
    wanted = {
        "hit@4": 1, "recall@4": 0.4, "recall_capped@4": 0.5, "precision@4": 0.5, "f1@4": 0.4 / 0.9,
        "ndcg@4": dcg / ideal, "mrr@4": 0.5,
    }  # fmt: skip
    table = per_user(hits, relevant, cutoffs=(4,))
    assert {name: values.item() for name, values in table.items()} == pytest.approx(wanted)


@given(cases())
@settings(max_examples=40, deadline=None)
def test_values_lie_between_none_and_all(case: tuple[np.ndarray, np.ndarray]) -> None:
    for values in per_user(*case, cutoffs=(1, 5, DEPTH)).values():
        assert ((values >= 0) & (values <= 1 + 1e-12)).all()


@given(cases(), st.integers(1, DEPTH - 1))
@settings(max_examples=40, deadline=None)
def test_recall_and_hit_grow_with_k_and_capped_is_never_below_plain(
    case: tuple[np.ndarray, np.ndarray], k: int
) -> None:
    for name in ("recall", "hit"):
        assert (PER_USER[name](*case, k) <= PER_USER[name](*case, k + 1)).all()
    assert (PER_USER["recall_capped"](*case, k) >= PER_USER["recall"](*case, k)).all()


@given(cases(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_permuting_users_permutes_values(case: tuple[np.ndarray, np.ndarray], random: Random) -> None:
    hits, relevant = case
    order = np.array(random.sample(range(len(hits)), len(hits)))
    straight, turned = (
        per_user(h, r, cutoffs=(3, DEPTH)) for h, r in ((hits, relevant), (hits[order], relevant[order]))
    )
    for name, values in straight.items():
        np.testing.assert_array_equal(turned[name], values[order])


@given(
    st.lists(st.floats(-50, 50, allow_nan=False, width=32), min_size=DEPTH, max_size=DEPTH, unique=True),
    st.sampled_from([lambda s: s - 1000, lambda s: 3 * s, lambda s: np.exp(s / 50), lambda s: s**3]),
)
@settings(max_examples=40, deadline=None)
def test_an_increasing_change_of_scores_moves_nothing(
    scores: list[float], change: Callable[[np.ndarray], np.ndarray]
) -> None:
    before = np.array(scores)
    after = change(before)
    if len(np.unique(after)) < DEPTH:
        return
    truth = np.array([0, 3, 5])
    tables = [
        per_user(hit_matrix(np.argsort(-s)[None], np.array([0, 3]), truth, DEPTH), np.array([3]), cutoffs=(2, DEPTH))
        for s in (before, after)
    ]
    for name in tables[0]:
        assert tables[0][name] == tables[1][name]


def test_the_rank_of_the_first_hit_alone_decides_mrr() -> None:
    hits = np.array([[False, False, True, True], [False, False, True, False], [False] * 4])
    assert mrr(hits, np.array([2, 1, 1]), 4).tolist() == [1 / 3, 1 / 3, 0]


def test_hit_matrix_marks_only_the_users_own_videos() -> None:
    rows = np.array([[4, 1, -1], [1, 4, 0]])
    marked = hit_matrix(rows, np.array([0, 1, 3]), np.array([1, 0, 1]), width=5)
    assert marked.tolist() == [[False, True, False], [True, False, True]]


def test_hit_matrix_of_nobody_with_anything_to_find_is_empty() -> None:
    assert not hit_matrix(np.array([[0, 1]]), np.array([0, 0]), np.empty(0, np.int64), width=5).any()


def test_cutoffs_are_the_protocols() -> None:
    assert CUTOFFS == (10, 20, 50, 100)


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_outside_the_lists_is_refused_with_both_numbers(k: int) -> None:
    with pytest.raises(ConfigError, match=rf"k is {k} and the lists are 4 deep; ask for a k from 1 to 4"):
        found(np.zeros((1, 4), bool), np.array([1]), k)


def test_a_user_with_nothing_to_find_is_refused() -> None:
    with pytest.raises(DataError, match="user 1 has 0 relevant videos, metrics need at least 1"):
        found(np.zeros((2, 4), bool), np.array([1, 0]), 2)
