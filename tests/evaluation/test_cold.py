import numpy as np
import pytest

from tests.worlds import Collapsed, OneHot, no_features, users_of
from towers.evaluation import EvaluationSet, cold
from towers.evaluation.cold import among_new

# After video 0: 1 → .9, 2 → .5, 3 → .7, 4 → .1; after video 1: 2 → .3, 3 → .3, 4 → .6.
SCORES = [[0.0, 0.9, 0.5, 0.7, 0.1], [0.0, 0.0, 0.3, 0.3, 0.6], *[[0.0] * 5] * 3]
NEW = np.array([False, False, True, True, True])


def _among_new(towers: OneHot, users: EvaluationSet, new: np.ndarray = NEW) -> dict[str, float]:
    tables = no_features(len(users) + 2), no_features(users.video_rows)
    found = among_new(towers, users, tables, new, draws=20)
    return {name: figure if isinstance(figure, float) else figure["value"] for name, figure in found.items()}


def test_the_share_of_other_new_videos_that_score_below_equals_by_half_each_user_alike() -> None:
    # User 0 seeks 2 (.5, between .7 and .1: 1/2) and 1, which is not new. User 1 seeks 3 (.3, one equal, one above:
    # 1/4) and 4 (.6, the best: 1), together 5/8. User 2 has no past, user 3 seeks nothing new.
    users = users_of([[0], [1], [], [0]], [[1, 2], [3, 4], [2], [1]], videos=5)
    assert _among_new(OneHot(SCORES), users)["cold videos: auc"] == pytest.approx((1 / 2 + 5 / 8) / 2)


def test_towers_that_tell_nothing_apart_are_at_chance() -> None:
    found = _among_new(Collapsed(SCORES), users_of([[0]], [[2]], videos=5))
    assert found == {"cold videos: in all": 3, "cold videos: auc": 0.5, "cold videos alone: recall@100": 1}


def test_the_first_of_the_new_ones_are_found_equals_by_the_share_that_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cold, "WITHIN", 1)
    # Of the first user's new ones 3 comes first, of the second's 4; both seek one that does and one that does not.
    users = users_of([[0], [1], [0]], [[2, 3], [3, 4], [2]], videos=5)
    assert _among_new(OneHot(SCORES), users)["cold videos alone: recall@100"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    monkeypatch.setattr(cold, "WITHIN", 2)
    # Beside 4 there is room for one of two equals.
    assert _among_new(OneHot(SCORES), users)["cold videos alone: recall@100"] == pytest.approx((1 + 3 / 4 + 1) / 3)
    assert _among_new(Collapsed(SCORES), users)["cold videos alone: recall@100"] == pytest.approx(2 / 3)


def test_there_is_no_figure_where_nobody_watched_anything_new_or_one_alone_is_new() -> None:
    assert _among_new(OneHot(SCORES), users_of([[0]], [[1]], videos=5)) == {}
    assert _among_new(OneHot(SCORES), users_of([[0]], [[2]], videos=5), np.arange(5) == 2) == {}


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    towers, new = OneHot(rng.random((20, 20)).tolist()), np.arange(20) >= 10
    users = users_of([[n] for n in range(9)], [[n + 10, n + 11] for n in range(9)], videos=20)
    whole = _among_new(towers, users, new)
    monkeypatch.setattr(cold, "SCORES_AT_ONCE", 25)
    assert _among_new(towers, users, new) == whole
    assert 0.3 < whole["cold videos: auc"] < 0.7
