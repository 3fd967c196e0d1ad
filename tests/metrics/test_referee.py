"""The metrics against an independent implementation, value by value and to the last digit."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from towers.metrics import hit_matrix, per_user

HERE = Path(__file__).resolve()
GOLDEN = HERE.parents[1] / "golden" / "referee_per_user.json"
REFEREE = HERE.parents[3] / "shared" / "referee" / "referee.py"


def _ours(ranked: list[list[int]], truth: list[list[int]]) -> dict[str, np.ndarray]:
    rows = np.full((len(ranked), 100), -1)
    for row, videos in zip(rows, ranked, strict=True):
        row[: len(videos)] = videos
    relevant = np.array([len(videos) for videos in truth])
    hits = hit_matrix(rows, np.r_[0, np.cumsum(relevant)], np.concatenate(truth), width=1000)
    return per_user(hits, relevant)


def test_values_are_the_referees() -> None:
    golden = json.loads(GOLDEN.read_text())
    ours = _ours(golden["ranked"], golden["truth"])
    assert ours.keys() == golden["per_user"].keys()
    for name, values in golden["per_user"].items():
        assert ours[name].tolist() == values, name


@pytest.mark.skipif(not REFEREE.is_file(), reason="the referee lies outside the repository")
def test_values_are_those_of_the_referee_itself() -> None:
    spec = importlib.util.spec_from_file_location("referee", REFEREE)
    assert spec is not None
    assert spec.loader is not None
    referee = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(referee)
    rng = np.random.default_rng(5)
    ranked = [rng.permutation(300)[:100].tolist() for _ in range(50)]
    truth = [rng.permutation(300)[: rng.integers(1, 120)].tolist() for _ in range(50)]
    theirs = referee.per_user(dict(enumerate(ranked)), dict(enumerate(truth)), list(range(50)))
    ours = _ours(ranked, truth)
    for name, values in theirs.items():
        assert ours[name].tolist() == values.tolist(), name
