import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers.exchange import DEPTH, Fitted, Task, answer, by_product, peak_mb, settings_of


@pytest.fixture
def task() -> Task:
    """User 0 watched 3 then 1, user 1 nothing, user 2 watched 0, user 3 watched 2; nobody watched 4."""
    return Task(
        offsets=np.array([0, 2, 2, 3, 4]),
        videos=np.array([3, 1, 0, 2]),
        times=np.array([5, 6, 7, 8]),
        wanted=np.array([0, 2]),
        catalogue=5,
    )


def test_a_task_is_read_as_it_was_written(task: Task, tmp_path: Path) -> None:
    task.save(tmp_path / "task.npz")
    read = Task.load(tmp_path / "task.npz")
    for name in ("offsets", "videos", "times", "wanted"):
        assert getattr(read, name).tolist() == getattr(task, name).tolist()
    assert read.catalogue == 5
    assert read.users.tolist() == [0, 0, 2, 3]
    assert read.past(0).tolist() == [3, 1]


def test_a_window_ends_before_its_event_and_never_begins_with_another_users(task: Task) -> None:
    users, ends = np.array([0, 0, 0, 2, 2]), np.array([0, 1, 2, 2, 3])
    assert task.windows(users, ends, 3).tolist() == [[0, 0, 0], [0, 0, 4], [0, 4, 2], [0, 0, 0], [0, 0, 1]]
    assert task.windows(users, ends, 1).tolist() == [[0], [4], [2], [0], [1]]


def test_lists_hold_the_best_first_without_the_watched_and_the_unknown_ties_by_lower_number(task: Task) -> None:
    scores = np.array([[1.0, 9.0, 1.0, 8.0, 7.0], [0.0] * 5, [9.0, 1.0, 2.0, 3.0, 7.0]])
    ranked = task.best(lambda users: scores[users], block=1)
    assert ranked.shape == (2, DEPTH)
    assert ranked[:, :4].tolist() == [[0, 2, -1, -1], [3, 2, 1, -1]]
    assert (ranked[:, 4:] == -1).all()
    users, videos = np.array([[1.0], [0.0], [-1.0]]), np.array([[1.0], [5.0], [3.0], [2.0], [9.0]])
    assert by_product(task, users, videos)()[:, :3].tolist() == [[2, 0, -1], [3, 2, 1]]


def test_settings_are_words_with_an_equals_sign() -> None:
    assert settings_of(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"}
    with pytest.raises(ValueError, match="'factors' is no setting; write key=value"):
        settings_of(["a=1", "factors"])


def test_a_script_answers_with_lists_and_what_they_cost(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(given: Task, settings: Mapping[str, str]) -> Fitted:
        assert settings == {"k": "v"}
        return Fitted(rank=by_product(given, np.ones((4, 1)), np.ones((5, 1))), fit_seconds=2.0, examples=30)

    task.save(tmp_path / "task.npz")
    monkeypatch.setattr(sys, "argv", ["script", str(tmp_path / "task.npz"), str(tmp_path / "answer.npz"), "k=v"])
    began = time.time()
    answer("numpy", train)
    with np.load(tmp_path / "answer.npz") as arrays:
        facts = json.loads(str(arrays["facts"]))
        assert arrays["ranked"][:, :3].tolist() == [[0, 2, -1], [1, 2, 3]]
    assert facts["version"] == np.__version__
    assert (facts["fit_seconds"], facts["examples_per_s"]) == (2.0, 15.0)
    assert began <= facts["trained_at"] <= time.time()
    assert 10 < facts["peak_mb"] <= peak_mb()
