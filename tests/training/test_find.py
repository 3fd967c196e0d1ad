import csv
import dataclasses
import itertools
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from towers.data import Dataset, Split
from towers.features import BatchSource, Mixed, encode_table
from towers.losses import Softmax
from towers.models import ModelConfig, RecencyHistory, TwoTower
from towers.training import OptimConfig, train
from towers.training.find import HIGHEST, LOWEST, STEPS, RangeTest, _full, range_test
from towers.types import RunError

from .test_train import config, journal, same


def material(dataset: Dataset) -> tuple[TwoTower, BatchSource]:
    torch.manual_seed(0)
    model = ModelConfig(history=RecencyHistory(heads=2), dim=8, window=6)
    towers = TwoTower(model, dataset.encoders, torch.ones(len(dataset.videos), dtype=torch.bool))
    users = encode_table(dataset.encoders.users, dataset.user_table())
    videos = encode_table(dataset.encoders.videos, dataset.video_table())
    positives = dataset.positives(Split.train)
    return towers, BatchSource(positives, users, videos, np.arange(2, len(dataset.videos)), Mixed(count=8), 6, 32)


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = np.geomspace(1e-5, 1.0, 200)
    losses = 8 - 2 / (1 + np.exp(-4 * (np.log10(rates) + 2.5)))
    test = RangeTest(rates, losses)
    # The running mean lags some twenty steps, a factor of three, behind.
    assert 10**-2.5 < test.suggestion < 10**-1.5
    assert test.smoothed[0] == losses[0]
    assert test.smoothed[-1] > losses[-1]


def test_a_range_test_goes_from_nothing_to_too_much_and_leaves_the_towers_alone(tiny_dataset: Dataset) -> None:
    towers, source = material(tiny_dataset)
    before = {name: value.clone() for name, value in towers.state_dict().items()}
    test = range_test(towers, Softmax(), OptimConfig(), source, seed=0)
    assert (test.rates[0], test.rates[-1]) == (pytest.approx(LOWEST), pytest.approx(HIGHEST))
    assert len(test.losses) == STEPS
    assert test.smoothed[150] < test.smoothed[20]
    assert all(torch.equal(value, before[name]) for name, value in towers.state_dict().items())
    again = range_test(towers, Softmax(), OptimConfig(), source, seed=0)
    assert np.array_equal(again.losses, test.losses)


def test_towers_whose_loss_is_no_number_have_no_suggestion(tiny_dataset: Dataset) -> None:
    towers, source = material(tiny_dataset)
    with torch.no_grad():
        towers.start.fill_(torch.nan)
    with pytest.raises(RunError, match=r"not finite from a learning rate of 1e-05 on, .* set optim\.learning_rate"):
        range_test(towers, Softmax(), OptimConfig(), source, seed=0)


def test_a_run_looks_once_and_trains_with_what_it_found(
    tiny_dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    looking = config(tiny_dataset, tmp_path / "run", optim=OptimConfig(epochs=2, positions=32, find=True))
    with caplog.at_level(logging.INFO):
        run = train(looking)
    rate = json.loads((run.folder / "learning_rate.json").read_text())["suggestion"]
    assert run.info["learning_rate"] == rate != run.info["config"]["optim"]["learning_rate"]
    assert f"optim.learning_rate={rate:.2g}: there the loss falls fastest" in caplog.text
    with (run.folder / "learning_rate.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) > STEPS // 2
    assert (run.folder / "learning_rate.png").read_bytes().startswith(b"\x89PNG")
    told = config(tiny_dataset, tmp_path / "told", optim=OptimConfig(epochs=2, positions=32, learning_rate=float(rate)))
    assert same(train(told).towers, run.towers)
    assert train(told).info["learning_rate"] == rate
    assert journal(tmp_path / "told") == journal(run.folder)


def test_what_an_epoch_has_left_over_for_a_batch_is_left_out(tiny_dataset: Dataset) -> None:
    _, source = material(tiny_dataset)
    source = dataclasses.replace(source, positions=20)
    every = [batch.positions for number in range(5) for batch in source.epoch(0, number)]
    largest = np.maximum.accumulate(every)
    wanted = [each for each, most in zip(every, largest, strict=True) if 2 * each >= most]
    assert len(wanted) < len(every)
    assert [batch.positions for batch in itertools.islice(_full(source, 0), len(wanted))] == wanted


def test_epochs_of_one_batch_or_of_weightless_positions_have_no_leftovers(tiny_dataset: Dataset) -> None:
    _, source = material(tiny_dataset)
    alone = dataclasses.replace(source, positions=100_000)
    assert [batch.positions for batch in itertools.islice(_full(alone, 0), 2)] == [
        batch.positions for number in range(2) for batch in alone.epoch(0, number)
    ]
    weight = np.zeros_like(source.positives.weight)
    weight[0] = 1.0
    hardly = dataclasses.replace(source, positives=dataclasses.replace(source.positives, weight=weight))
    assert len(list(itertools.islice(_full(hardly, 0), 5))) == 5
