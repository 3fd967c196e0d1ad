import numpy as np
import pytest

from towers.evaluation import interval
from towers.evaluation.interval import intervals
from towers.types import ConfigError, DataError


def test_intervals_are_those_of_redrawn_means() -> None:
    values = np.random.default_rng(0).random((400, 2))
    rng = np.random.default_rng(7)
    means = values[rng.integers(0, 400, (500, 400))].mean(1)
    for figure, column, plain in zip(intervals(values, 500, seed=7), means.T, values.T, strict=True):
        assert figure["value"] == plain.mean()
        np.testing.assert_allclose([figure["low"], figure["high"]], np.quantile(column, [0.025, 0.975]))


def test_a_pair_of_columns_is_redrawn_together() -> None:
    values = np.random.default_rng(0).random((100, 1))
    same = intervals(np.hstack([values, values + 0.1, np.full((100, 1), 0.1)]), 200, seed=0)
    assert same[1]["low"] == pytest.approx(same[0]["low"] + 0.1)
    assert same[2]["low"] == pytest.approx(same[2]["high"])


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((50, 1))
    whole = intervals(values, 100, seed=0)
    monkeypatch.setattr(interval, "DRAWS_AT_ONCE", 120)
    assert intervals(values, 100, seed=0) == [{name: pytest.approx(value) for name, value in whole[0].items()}]
    assert intervals(values, 100, seed=1) != whole


def test_what_cannot_be_averaged_is_refused() -> None:
    with pytest.raises(DataError, match="no users to average over"):
        intervals(np.empty((0, 1)), 100, seed=0)
    with pytest.raises(DataError, match="2 per-user values are not finite"):
        intervals(np.array([[np.nan], [np.inf], [1.0]]), 100, seed=0)
    with pytest.raises(ConfigError, match="draws is 1; an interval needs at least 2"):
        intervals(np.ones((3, 1)), 1, seed=0)
