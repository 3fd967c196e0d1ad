from pathlib import Path

import numpy as np
import pytest

from tests.worlds import past_of, random_world, users_of
from towers.data import Split
from towers.evaluation import EvaluationSet, past
from towers.evaluation.past import Past
from towers.types import DataError

WATCHED = [[0, 1, 2], [], [2, 1], [4]]


def test_gram_counts_users_who_watched_both(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.zeros((4, 5), np.float32)
    for user, videos in enumerate(WATCHED):
        dense[user, videos] = 1
    for at_once in (1, 5, 1000):
        monkeypatch.setattr(past, "PAIRS_AT_ONCE", at_once)
        np.testing.assert_array_equal(past_of(WATCHED, videos=5).gram().numpy(), dense.T @ dense)


def test_gram_counts_a_user_once_however_often_they_watched() -> None:
    twice = [[0, 1, 0, 2, 1], [], [2, 1, 2], [4, 4]]
    assert past_of(twice, videos=5).gram().equal(past_of(WATCHED, videos=5).gram())


def test_what_is_chosen_is_the_peak_and_the_way_there_is_short() -> None:
    asked = users_of([[0]], [[1]], videos=5)
    whole = past_of(WATCHED, videos=5, training=(past_of(WATCHED, videos=5), asked))
    tried: list[int] = []

    def recall(fit: Past, users: EvaluationSet, option: int) -> float:
        assert fit is whole.training[0]  # type: ignore[index]
        assert len(users) == 1
        tried.append(option)
        return -abs(option - 50) / 100 + 0.9

    assert whole.choose([1, 10, 50, 100, 1000], recall) == 50
    assert sorted(tried) == [10, 50, 100]
    assert whole.choose([1, 10, 20, 30, 50], recall) == 50
    assert past_of(WATCHED, videos=5).choose([1, 10, 50], recall) == 10


def test_no_option_is_an_error() -> None:
    with pytest.raises(DataError, match="there is no option to choose from"):
        past_of(WATCHED, videos=5).choose([], lambda *_: 0.0)


def test_the_most_popular_videos_are_renumbered_throughout() -> None:
    # Counts are 1, 2, 2, 0, 1: of the three most popular, 1 → 0, 2 → 1, 0 → 2.
    asked = users_of([[0, 4], [3], [2]], [[1, 2], [4], [0]], videos=5)
    part = past_of(WATCHED, videos=5, training=(past_of([[4, 2]], videos=5), asked)).most_popular(3)
    assert part.catalogue == 3
    assert part.offsets.tolist() == [0, 3, 3, 5, 5]
    assert part.column.tolist() == [2, 0, 1, 1, 0]
    assert part.training is not None
    fit, users = part.training
    assert fit.column.tolist() == [1]
    assert users.users.tolist() == [2, 4]
    assert (users.history - 2).tolist() == [2, 1]
    assert (users.truth - 2).tolist() == [0, 1, 2]
    assert past_of(WATCHED, videos=5).most_popular(9).catalogue == 5


def test_the_past_of_test_is_train_and_valid_and_options_are_chosen_on_valid(tmp_path: Path) -> None:
    dataset = random_world(tmp_path / "w")
    whole = Past.of(dataset, Split.test)
    assert len(whole.column) == len(dataset.positives(Split.train, Split.valid))
    assert whole.training is not None
    fit, asked = whole.training
    assert len(fit.column) == len(dataset.positives(Split.train))
    assert asked.split is Split.valid
    assert asked.warm.all()
