"""Figures against the referee's answer on a random protocol, to the last digit."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.worlds import users_of
from towers.evaluation import measure as room
from towers.evaluation.measure import measure, recall_within
from towers.metrics import ranking
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
    figures = measure([Hits(lists, scores)], users_of(past, truth, videos), new_video, draws=50, seed=0).figures
    theirs = {name: value for name, value in golden["score"].items() if "±" not in name}
    assert {name: f["value"] if isinstance(f, dict) else f for name, f in figures.items()} == theirs


def test_recall_over_k_ends_at_recall_at_100_and_shown_counts_users() -> None:
    users = users_of([[0], [0]], [[1, 2], [3]], videos=120)
    ids = np.tile(np.arange(100) + 3, (2, 1))
    found = measure([Hits(ids, np.zeros((2, 100), np.float32))], users, np.zeros(120, bool), draws=20, seed=0)
    assert found.recall_by_k[:3] == [0.25, 0.5, 1.0]
    assert found.recall_by_k[-1] == found.value("recall@100") == 1
    assert found.shown.tolist() == [0] + [2] * 100 + [0] * 19
    assert found.value("coverage@100") == 100 / 120
    assert "cold users" not in found.figures


def test_nobody_with_a_past_has_no_headline() -> None:
    lists = Hits(np.full((1, 100), -1), np.full((1, 100), -np.inf, np.float32))
    with pytest.raises(DataError, match=r"no user of the test split has a past; move the cut \(cut.test\) later"):
        measure([lists], users_of([[]], [[1]], 3), np.zeros(3, bool), draws=20, seed=0)


def test_blocks_of_users_change_no_bit_of_the_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    past = [[0] if user % 5 else [] for user in range(60)]
    truth = [rng.choice(np.arange(1, 150), rng.integers(1, 9), replace=False).tolist() for _ in range(60)]
    users, new_video = users_of(past, truth, 150), rng.random(150) < 0.2
    ids = np.stack([rng.permutation(149)[:100] + 3 for _ in range(60)])
    lists = Hits(ids, np.zeros(ids.shape, np.float32))
    whole = measure([lists], users, new_video, draws=20, seed=0)
    seen: list[int] = []
    monkeypatch.setattr(room, "USERS_AT_ONCE", 7)
    counted = ranking.per_user

    def spy(hits: np.ndarray, relevant: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(len(hits))
        return counted(hits, relevant)

    monkeypatch.setattr(ranking, "per_user", spy)
    parts = measure((Hits(ids[a : a + 20], lists.scores[a : a + 20]) for a in (0, 20, 40)), users, new_video, 20, 0)
    assert seen == [7, 7, 6] * 3
    assert parts.figures == whole.figures
    assert parts.recall_by_k == whole.recall_by_k
    # By hand: the mean over k as one table, which is what blocks are to add up to.
    hits, warm = users.hits(ids), users.warm
    assert whole.recall_by_k == (hits[warm].cumsum(1) / users.relevant[warm][:, None]).mean(0).tolist()
    assert whole.found.tolist() == [t + 2 in ids[user] for user in range(60) for t in sorted(truth[user])]


def test_lists_of_other_users_are_refused() -> None:
    users = users_of([[0], [0]], [[1], [2]], 120)
    one = Hits(np.tile(np.arange(100) + 3, (1, 1)), np.zeros((1, 100), np.float32))
    for lists in ([one], [one] * 3):
        with pytest.raises(DataError, match="and 2 users; give one each"):
            measure(lists, users, np.zeros(120, bool), draws=20, seed=0)


def test_recall_within_is_over_the_users_who_seek_any_of_it() -> None:
    users = users_of([[0], [0], [0]], [[1, 2, 3], [4], [5]], 9)
    found, wanted = np.array([1, 0, 1, 1, 0], bool), np.array([1, 1, 0, 0, 1], bool)
    values, at = recall_within(found, users, wanted)
    assert (values.tolist(), at.tolist()) == ([0.5, 0.0], [0, 2])
