import numpy as np
import pytest

from tests.worlds import Collapsed, OneHot, no_features, users_of
from towers.evaluation import EvaluationSet, cold
from towers.evaluation.cold import cold_auc

# After video 0: 1 → .9, 2 → .5, 3 → .7, 4 → .1; after video 1: 2 → .3, 3 → .3, 4 → .6.
SCORES = [[0.0, 0.9, 0.5, 0.7, 0.1], [0.0, 0.0, 0.3, 0.3, 0.6], *[[0.0] * 5] * 3]
NEW = np.array([False, False, True, True, True])


def _auc(towers: OneHot, users: EvaluationSet, new: np.ndarray = NEW) -> dict[str, float]:
    tables = no_features(len(users) + 2), no_features(users.video_rows)
    return {name: figure["value"] for name, figure in cold_auc(towers, users, tables, new, draws=20).items()}


def test_the_share_of_other_new_videos_that_score_below_equals_by_half_each_user_alike() -> None:
    # User 0 seeks 2 (.5, between .7 and .1: 1/2) and 1, which is not new. User 1 seeks 3 (.3, one equal, one above:
    # 1/4) and 4 (.6, the best: 1), together 5/8. User 2 has no past, user 3 seeks nothing new.
    users = users_of([[0], [1], [], [0]], [[1, 2], [3, 4], [2], [1]], videos=5)
    assert _auc(OneHot(SCORES), users) == pytest.approx({"cold videos: auc": (1 / 2 + 5 / 8) / 2})


def test_towers_that_tell_nothing_apart_are_at_chance() -> None:
    assert _auc(Collapsed(SCORES), users_of([[0]], [[2]], videos=5)) == {"cold videos: auc": 0.5}


def test_there_is_no_figure_where_nobody_watched_anything_new_or_one_alone_is_new() -> None:
    assert _auc(OneHot(SCORES), users_of([[0]], [[1]], videos=5)) == {}
    assert _auc(OneHot(SCORES), users_of([[0]], [[2]], videos=5), np.arange(5) == 2) == {}


def test_blocks_of_users_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    towers, new = OneHot(rng.random((20, 20)).tolist()), np.arange(20) >= 10
    users = users_of([[n] for n in range(9)], [[n + 10, n + 11] for n in range(9)], videos=20)
    whole = _auc(towers, users, new)
    monkeypatch.setattr(cold, "SCORES_AT_ONCE", 25)
    assert _auc(towers, users, new) == whole
    assert 0.3 < whole["cold videos: auc"] < 0.7
