import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.peers.tasks import FIRST, read_answer, recall, task_of, write_lists
from tests.tiny import write_dataset
from towers.data import Split


@pytest.mark.parametrize(("split", "seen"), [(Split.test, [Split.train, Split.valid]), (Split.valid, [Split.train])])
def test_a_task_holds_what_came_before_and_who_has_both_sides(tmp_path: Path, split: Split, seen: list[Split]) -> None:
    dataset = write_dataset(tmp_path / "d")
    task, before, found = task_of(dataset, split), dataset.positives(*seen), dataset.positives(split)
    assert len(task.offsets) == len(dataset.users) - FIRST + 1
    assert task.catalogue == len(dataset.videos) - FIRST
    for user in range(len(task.offsets) - 1):
        assert task.past(user).tolist() == (before.of(user + FIRST) - FIRST).tolist()
        assert (user in task.wanted) == (len(before.of(user + FIRST)) > 0 and len(found.of(user + FIRST)) > 0)


@pytest.mark.parametrize("string", [False, True])
def test_lists_carry_the_ids_of_the_log_in_their_own_type(tmp_path: Path, string: bool) -> None:
    dataset = write_dataset(tmp_path / "d", string)
    task = task_of(dataset, Split.test)
    ranked = np.full((len(task.wanted), 3), -1)
    ranked[0], ranked[1, 0] = [5, 0, 7], 2
    write_lists(ranked, task, dataset, tmp_path / "lists.parquet")
    rows = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    users, videos = dataset.users.ids(task.wanted[:2] + FIRST), dataset.videos.ids(np.array([5, 0, 7, 2]) + FIRST)
    assert [row["user_id"] for row in rows] == [users[0]] * 3 + [users[1]]
    assert [row["video_id"] for row in rows] == list(videos)
    assert [row["rank"] for row in rows] == [1, 2, 3, 1]


def test_recall_is_the_mean_share_of_what_was_to_be_found(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "d")
    task, truth = task_of(dataset, Split.test), dataset.positives(Split.test)
    ranked = np.full((len(task.wanted), 1), -1)
    assert recall(ranked, task, dataset, Split.test) == 0.0
    ranked[:, 0] = [truth.of(user + FIRST)[0] - FIRST for user in task.wanted]
    expected = np.mean([1 / len(truth.of(user + FIRST)) for user in task.wanted])
    assert recall(ranked, task, dataset, Split.test) == pytest.approx(expected)


def test_an_answer_is_read_without_pickle(tmp_path: Path) -> None:
    np.savez(tmp_path / "answer.npz", ranked=np.array([[1, -1]]), facts=json.dumps({"version": "1"}))
    ranked, facts = read_answer(tmp_path / "answer.npz")
    assert (ranked.tolist(), facts) == ([[1, -1]], {"version": "1"})
