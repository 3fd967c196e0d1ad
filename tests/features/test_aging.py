import csv
from pathlib import Path

import numpy as np
import pytest

from tests.worlds import Event, write_world
from towers.data import TIME_UNKNOWN, Positives
from towers.features import Catalogue, aged
from towers.losses import Softmax
from towers.models import MeanHistory, ModelConfig, PopularityTerm
from towers.training import OptimConfig, TrainConfig, train
from towers.types import DAY_MS, ConfigError


def _log(days: list[float | None], weight: float = 1.0) -> Positives:
    times = np.array([TIME_UNKNOWN if day is None else int(day * DAY_MS) for day in days])
    count = len(days)
    return Positives(
        np.array([0, 0, 0, count]), np.arange(2, 2 + count, dtype=np.int32), times, np.full(count, weight, np.float32)
    )


def test_weights_halve_with_every_half_life_before_the_newest() -> None:
    found = aged(_log([10, 13, 16, 19], weight=3.0), half_life_days=3.0)
    np.testing.assert_allclose(found.weight, [0.375, 0.75, 1.5, 3.0], rtol=1e-6)


def test_an_event_without_a_time_counts_like_the_oldest_that_has_one() -> None:
    np.testing.assert_allclose(aged(_log([None, 2, 4]), half_life_days=1.0).weight, [0.25, 0.25, 1.0], rtol=1e-6)


def test_a_log_without_times_cannot_age() -> None:
    with pytest.raises(ConfigError, match=r"half_life_days is 2\.0, but no training event has a time; leave it at 0"):
        aged(_log([None, None]), half_life_days=2.0)


@pytest.mark.parametrize("days", [-1.0, float("nan")])
def test_a_half_life_below_nought_is_refused(days: float) -> None:
    with pytest.raises(ConfigError, match=rf"half_life_days is {days}; expected above 0, or 0 for no ageing"):
        _config("d", "r", days)


def test_training_makes_less_of_what_is_long_ago(tmp_path: Path) -> None:
    # Most went from v00 to v01 long ago, a few go from v00 to v02 today: what is forgotten costs no loss.
    old = [(f"o{i}", video, "train", 1 + at) for i in range(9) for at, video in enumerate(("v00", "v01"))]
    new = [(f"n{i}", video, "train", 90 * DAY_MS + at) for i in range(3) for at, video in enumerate(("v00", "v02"))]
    ask: list[Event] = [("a", "v00", "train", 90 * DAY_MS), ("a", "v01", "valid", 91 * DAY_MS)]
    dataset = write_world(tmp_path / "dataset", [*old, *new, *ask], 3)

    def loss(days: float) -> float:
        run = train(_config(str(dataset.folder), str(tmp_path / f"run-{days}"), days))
        with (run.folder / "history.csv").open(newline="") as file:
            return float(list(csv.DictReader(file))[-1]["loss"])

    assert loss(1.0) < loss(0.0)


def _config(dataset: str, run: str, days: float) -> TrainConfig:
    none = PopularityTerm.none
    model = ModelConfig(history=MeanHistory(), dim=8, window=4, dropout=0.0, spectral=False, popularity=none)
    optim = OptimConfig(epochs=40, patience=40, learning_rate=0.05)
    plain = {"dataset": dataset, "run": run, "model": model, "optim": optim, "progress": False}
    return TrainConfig(**plain, loss=Softmax(), sampler=Catalogue(), half_life_days=days, refit_epochs=0)  # type: ignore[arg-type]
