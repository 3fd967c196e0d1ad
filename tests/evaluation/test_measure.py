"""Figures against the referee's answer on a random protocol, to the last digit."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.worlds import users_of
from towers.evaluation.measure import measure
from towers.types import DataError, Hits

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "referee_score.json"


def test_figures_are_the_referees() -> None:
    golden = json.loads(GOLDEN.read_text())
    names = sorted(golden["test"], key=int)
    first, videos = golden["first_video"], golden["videos"]
    past, truth = ([[v - first for v in golden[part].get(name, [])] for name in names] for part in ("past", "test"))
    lists = np.array([golden["ranked"][name] for name in names]) - first + 2
    watched = {v - first for part in golden["past"].values() for v in part}
    new_video = np.array([video not in watched for video in range(videos)])
    scores = np.broadcast_to(-np.arange(100, dtype=np.float32), lists.shape)
    figures = measure(Hits(lists, scores), users_of(past, truth, videos), new_video, draws=50, seed=0).figures
    theirs = {name: value for name, value in golden["score"].items() if "±" not in name}
    assert {name: f["value"] if isinstance(f, dict) else f for name, f in figures.items()} == theirs


def test_recall_over_k_ends_at_recall_at_100_and_shown_counts_users() -> None:
    users = users_of([[0], [0]], [[1, 2], [3]], videos=120)
    ids = np.tile(np.arange(100) + 3, (2, 1))
    found = measure(Hits(ids, np.zeros((2, 100), np.float32)), users, np.zeros(120, bool), draws=20, seed=0)
    assert found.recall_by_k[:3] == [0.25, 0.5, 1.0]
    assert found.recall_by_k[-1] == found.value("recall@100") == 1
    assert found.shown.tolist() == [0] + [2] * 100 + [0] * 19
    assert found.value("coverage@100") == 100 / 120
    assert "cold users" not in found.figures


def test_nobody_with_a_past_has_no_headline() -> None:
    lists = Hits(np.full((1, 100), -1), np.full((1, 100), -np.inf, np.float32))
    with pytest.raises(DataError, match=r"no user of the test split has a past; move the cut \(cut.test\) later"):
        measure(lists, users_of([[]], [[1]], 3), np.zeros(3, bool), draws=20, seed=0)
