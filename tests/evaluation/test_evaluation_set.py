from pathlib import Path

import numpy as np
import pytest

from tests.worlds import Event, users_of, write_world
from towers.data import Dataset, Split
from towers.evaluation import EvaluationSet, evaluation_set
from towers.types import DataError

EVENTS: list[Event] = [
    ("zoe", "v03", "train"),
    ("zoe", "v00", "valid"),
    ("zoe", "v02", "test"),
    ("zoe", "v01", "test"),
    ("amy", "v01", "test", 7),
    ("bob", "v00", "train"),
    ("cat", "v04", "valid"),
]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_world(tmp_path / "world", EVENTS, videos=5)


def test_test_has_train_and_valid_as_its_past_and_users_by_id(dataset: Dataset) -> None:
    users = EvaluationSet.of(dataset, Split.test)
    assert dataset.users.ids(users.users) == ["amy", "zoe"]
    assert users.warm.tolist() == [False, True]
    assert users.history.tolist() == [5, 2]
    assert users.truth.tolist() == [3, 3, 4]
    assert users.relevant.tolist() == [1, 2]
    assert users.truth_time_ms[0] == 7
    assert users.catalogue == 5


def test_valid_has_train_alone_as_its_past(dataset: Dataset) -> None:
    users = EvaluationSet.of(dataset, Split.valid)
    assert dataset.users.ids(users.users) == ["cat", "zoe"]
    assert users.history.tolist() == [5]
    assert users.warm.tolist() == [False, True]


def test_an_event_after_the_split_changes_nothing(dataset: Dataset, tmp_path: Path) -> None:
    later = write_world(tmp_path / "later", [*EVENTS, ("bob", "v04", "test")], videos=5)
    for name in ("users", "history", "truth"):
        before, after = (getattr(EvaluationSet.of(d, Split.valid), name) for d in (dataset, later))
        np.testing.assert_array_equal(before, after)


def test_a_video_watched_twice_is_to_be_found_once(tmp_path: Path) -> None:
    dataset = write_world(
        tmp_path / "w", [("u", "v01", "test", 5), ("u", "v01", "test", 9), ("u", "v00", "test", 6)], 3
    )
    users = EvaluationSet.of(dataset, Split.test)
    assert users.truth.tolist() == [2, 3]
    assert users.truth_time_ms.tolist() == [6, 5]


def test_pick_leaves_the_rest_as_it_was() -> None:
    users = users_of([[0], [1, 2], []], [[3], [4, 5], [0]], videos=6)
    part = users.pick(np.array([2, 1]))
    assert part.users.tolist() == [4, 3]
    assert part.history.tolist() == [3, 4]
    assert part.truth.tolist() == [2, 6, 7]


def test_the_past_keeps_its_times(tmp_path: Path) -> None:
    events: list[Event] = [("amy", "v01", "train", 3), ("bob", "v02", "train", 4), ("amy", "v00", "valid", 5)]
    events += [("amy", "v03", "test", 9), ("bob", "v03", "test", 8)]
    users = EvaluationSet.of(write_world(tmp_path / "timed", events, videos=5), Split.test)
    assert users.history_time_ms.tolist() == [3, 5, 4]
    assert users.pick(np.array([1])).history_time_ms.tolist() == [4]


def test_what_is_masked_is_not_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_set, "USERS_AT_ONCE", 1)
    again: list[Event] = [("zoe", "v03", "test"), ("bob", "v00", "test"), ("amy", "v01", "test", 9)]
    users = EvaluationSet.of(write_world(tmp_path / "w", [*EVENTS, *again], 5), Split.test)
    # zoe watched v03 in train; bob, who watched v00 there, has nothing else to find; amy's two are one.
    assert users.users.tolist() == [3, 2]
    assert users.truth.tolist() == [3, 3, 4]
    assert users.repeated == 2
    assert EvaluationSet.of(write_world(tmp_path / "first", EVENTS, 5), Split.test).repeated == 0


def test_nothing_new_to_find_is_an_error(tmp_path: Path) -> None:
    dataset = write_world(tmp_path / "w", [("u", "v01", "train"), ("u", "v01", "test")], 3)
    with pytest.raises(DataError, match="all 1 positives of the test split were positives of the same user before"):
        EvaluationSet.of(dataset, Split.test)


def test_nobody_to_ask_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    dataset = write_world(tmp_path / "w", [("u", "v01", "train")], 3)
    with pytest.raises(DataError, match=r"no user has a positive event in the test split; move the cut .* earlier"):
        EvaluationSet.of(dataset, Split.test)


def test_train_cannot_be_evaluated_on(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="split is train, which towers are fitted on; evaluate on valid or test"):
        EvaluationSet.of(dataset, Split.train)
