from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.worlds import Collapsed, OneHot, no_features, users_of
from towers.evaluation import EvaluationSet, exact, rank, validate
from towers.evaluation.measure import measure
from towers.metrics import Recall
from towers.types import DataError, Hits


def _rank(towers: OneHot, users: EvaluationSet, depth: int) -> Hits:
    return rank(towers, users, no_features(len(users) + 2), no_features(users.video_rows), depth)


# Scores after video 0: 1 → .9, 2 → .5, 3 → .7, and 0 itself 1. After video 3: 0 → .2, 2 → .8.
SCORES = [[1.0, 0.9, 0.5, 0.7], [0.0] * 4, [0.0] * 4, [0.2, 0.0, 0.8, 0.0]]


def test_one_hot_towers_rank_as_their_table_says() -> None:
    # User 0 watched 0: 1 (.9), 3 (.7), 2 (.5). User 1 watched 0 and 3, sums 1.2, .9, 1.3, .7, of which
    # 0 and 3 are masked: 2 (1.3), 1 (.9). Rows are positions + 2.
    found = _rank(OneHot(SCORES), users_of([[0], [0, 3]], [[2], [1]], videos=4), depth=3)
    assert found.ids.tolist() == [[3, 5, 4], [4, 3, -1]]
    np.testing.assert_allclose(found.scores, [[0.9, 0.7, 0.5], [1.3, 0.9, -np.inf]], rtol=1e-6)


def test_validate_is_the_mean_over_users_with_a_past() -> None:
    # User 0 finds video 2 at rank 3, user 1 finds video 1 at rank 2 and not video 3, which is masked;
    # user 2 has no past and counts nothing. ndcg@10: 1/log2(4) = .5, and 1/log2(3) / (1 + 1/log2(3)).
    wide = [row + [0.0] * 150 for row in SCORES] + [[0.0] * 154] * 150
    users = users_of([[0], [0, 3], []], [[2], [1, 3], [0]], videos=154)
    figures = validate(OneHot(wide), users, no_features(5), no_features(156))
    discounted = 1 / np.log2(3)
    assert figures == pytest.approx({
        "recall@100": 0.75,
        "recall@20": 0.75,
        "hit@10": 1.0,
        "ndcg@10": (0.5 + discounted / (1 + discounted)) / 2,
    })


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    towers = OneHot(rng.random((30, 30)).tolist())
    users = users_of([[n, n + 7] for n in range(20)], [[n + 1] for n in range(20)], videos=30)
    whole = _rank(towers, users, depth=12)
    monkeypatch.setattr(exact, "USERS_AT_ONCE", 3)
    parts = _rank(towers, users, depth=12)
    np.testing.assert_array_equal(whole.ids, parts.ids)
    np.testing.assert_array_equal(whole.scores, parts.scores)


def test_validate_is_the_running_metrics_over_blocks_of_users(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    towers = OneHot(rng.random((130, 130)).tolist())
    past = [[n] if n % 4 else [] for n in range(20)]
    users = users_of(past, [[n + 1, 2 * n + 30, 125] for n in range(20)], videos=130)
    whole = validate(towers, users, no_features(22), no_features(132))
    monkeypatch.setattr(exact, "USERS_AT_ONCE", 3)
    counted: list[int] = []
    update = Recall.update

    def spy(self: Recall, hits: Tensor, relevant: Tensor) -> None:
        counted.append(len(hits))
        update(self, hits, relevant)

    monkeypatch.setattr(Recall, "update", spy)
    parts = validate(towers, users, no_features(22), no_features(132))
    assert sum(counted) == 2 * users.warm.sum()
    assert max(counted) == 3
    assert parts == pytest.approx(whole, rel=1e-15)
    lists = _rank(towers, users, 100)
    measured = measure([lists], users, np.zeros(130, bool), draws=2, seed=0)
    assert {name: measured.value(name) for name in parts} == pytest.approx(parts, rel=1e-15)


def test_processes_ask_equally_often_whoever_has_more_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Towers whose rows are dealt out answer only when all ask."""
    monkeypatch.setattr(exact, "USERS_AT_ONCE", 3)
    towers, asked = OneHot(np.eye(30).tolist()), list[int]()
    users = users_of([[n] for n in range(20)], [[n + 1] for n in range(20)], videos=30)
    counted, states, update = list[int](), towers.states, Recall.update

    def ask(events: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401 - what towers are asked
        asked.append(len(events))
        return states(events, *rest)

    def count(self: Recall, hits: Tensor, relevant: Tensor) -> None:
        counted.append(len(hits))
        update(self, hits, relevant)

    monkeypatch.setattr(towers, "states", ask)
    monkeypatch.setattr(Recall, "update", count)
    for part, sizes, users_of_it in ((0, [3, 3, 3, 2], 11), (1, [3, 3, 3, 3], 9)):
        asked.clear()
        counted.clear()
        validate(towers, users, no_features(22), no_features(32), part, 2)
        assert (asked, sum(counted)) == (sizes, 2 * users_of_it)


@pytest.mark.parametrize("relevant", [1, 60])
def test_a_collapsed_model_does_not_beat_chance(relevant: int) -> None:
    rng = np.random.default_rng(2)
    truth = [rng.choice(np.arange(1, 300), relevant, replace=False).tolist() for _ in range(40)]
    users = users_of([[0]] * 40, truth, videos=300)
    lists = _rank(Collapsed([[0.0] * 300] * 300), users, depth=100)
    assert users.hits(lists.ids).sum() / users.relevant.sum() <= 100 / 299
    assert (np.diff(np.sort(lists.ids, axis=1), axis=1) > 0)[:, -60:].all()


def test_nobody_with_a_past_cannot_be_validated() -> None:
    with pytest.raises(DataError, match="no user of the test split has a past"):
        validate(OneHot(SCORES), users_of([[]], [[1]], videos=4), no_features(3), no_features(6))


def _hits(ids: list[int], scores: list[float]) -> Hits:
    return Hits(np.array([ids]), np.array([scores], np.float32))


def test_among_equal_scores_the_relevant_come_last() -> None:
    users = users_of([[]], [[0, 3]], videos=9)
    settled = exact.settle(_hits([2, 3, 4, 5, 6], [0.9, 0.9, 0.5, 0.4, 0.1]), users, depth=4)
    assert settled.ids.tolist() == [[3, 2, 4, 5]]


def test_a_tie_that_runs_past_what_was_fetched_loses_its_relevant_videos() -> None:
    users = users_of([[]], [[0, 3]], videos=9)
    settled = exact.settle(_hits([2, 3, 4, 5], [0.9, 0.5, 0.5, 0.5]), users, depth=4)
    assert settled.ids.tolist() == [[2, 3, 4, -1]]
    assert settled.scores[0, 3] == -np.inf


def test_a_tie_at_the_end_of_the_catalogue_keeps_its_relevant_videos() -> None:
    users = users_of([[4]], [[0, 3]], videos=5)
    settled = exact.settle(_hits([2, 3, 4, 5], [0.9, 0.5, 0.5, 0.5]), users, depth=4)
    assert settled.ids.tolist() == [[2, 3, 4, 5]]


@given(st.lists(st.integers(0, 4), min_size=10, max_size=10), st.sets(st.integers(0, 39), min_size=1, max_size=20))
def test_settled_is_never_better_than_any_other_order_of_ties(levels: list[int], truth: set[int]) -> None:
    users = users_of([[]], [sorted(truth)], videos=40)
    scores = np.sort(np.array([levels], np.float32))[:, ::-1].copy()
    fetched = Hits(np.arange(2, 12)[None], scores)
    settled = exact.settle(fetched, users, depth=6)
    assert (np.diff(settled.scores[settled.scores > -np.inf]) <= 0).all()
    ours, given_order = (users.hits(ids).cumsum(1) for ids in (settled.ids, fetched.ids[:, :6]))
    assert (ours <= given_order).all()
