import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from towers.data import Dataset, Split
from towers.evaluation import EvaluationSet, validate
from towers.features import InBatch, encode_table
from towers.models import TwoTower
from towers.training import OptimConfig, TrainConfig, train
from towers.training.adam import RowAdamW
from towers.training.average import Average
from towers.training.config import Tables

from .test_train import config, journal, same

DECAY = 0.8


def optim(**options: object) -> OptimConfig:
    return OptimConfig(**({"epochs": 3, "positions": 16, "learning_rate": 0.02} | options))  # type: ignore[arg-type]


class Toy(nn.Module):
    """A table that moves by rows and a weight that moves as a whole."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.whole = nn.Embedding(5, 2, sparse=True), nn.Linear(2, 1)


def trained(steps: list[list[int]], average_of: list[Average]) -> tuple[Toy, list[dict[str, torch.Tensor]]]:
    """Move a toy in the rows of each step; return it and its weights after each."""
    toy = Toy()
    average = Average(toy, DECAY)
    optimizer = RowAdamW(toy.parameters(), lr=0.1)
    trainer, module = Mock(spec=pl.Trainer), Mock(spec=pl.LightningModule)
    average.on_fit_start(trainer, module)
    seen = []
    for rows in steps:
        optimizer.zero_grad()
        toy.whole(toy.table(torch.tensor(rows))).square().sum().backward()
        average.on_before_optimizer_step(trainer, module, optimizer)
        optimizer.step()
        seen.append({name: value.clone() for name, value in toy.state_dict().items()})
    average_of.append(average)
    return toy, seen


def test_the_mean_is_that_of_the_weights_after_every_step_whichever_rows_moved() -> None:
    averages: list[Average] = []
    toy, seen = trained([[0, 1], [1, 2, 1], [0], [3], [1, 3]], averages)
    counts = [(1 - DECAY) * DECAY ** (len(seen) - 1 - step) for step in range(len(seen))]
    for name, mean in averages[0].weights().items():
        parts = [count * weights[name] for count, weights in zip(counts, seen, strict=True)]
        torch.testing.assert_close(mean, torch.stack(parts).sum(0) / sum(counts))
    newest = {name: value.clone() for name, value in toy.state_dict().items()}
    with averages[0].swapped():
        assert not torch.equal(toy.table.weight, newest["table.weight"])
    for name, value in toy.state_dict().items():
        assert torch.equal(value, newest[name])


def test_what_is_kept_and_measured_is_the_mean(tiny_dataset: Dataset, tmp_path: Path) -> None:
    plain = train(config(tiny_dataset, tmp_path / "plain", refit_epochs=0, optim=optim()))
    mean = train(config(tiny_dataset, tmp_path / "mean", refit_epochs=0, optim=optim(average=0.9)))
    assert journal(plain.folder)[0]["loss"] == journal(mean.folder)[0]["loss"]
    assert not same(plain.towers, mean.towers)
    distance = {name: float((one - two).norm()) for name, one, two in both(plain.towers, mean.towers)}
    assert distance["ids.weight"] > 0
    assert distance["known"] == 0
    videos = encode_table(tiny_dataset.encoders.videos, tiny_dataset.video_table())
    users = encode_table(tiny_dataset.encoders.users, tiny_dataset.user_table())
    figures = validate(mean.towers, EvaluationSet.of(tiny_dataset, Split.valid), users, videos)
    assert mean.info["valid"] == pytest.approx(figures)
    assert mean.info["valid"] != plain.info["valid"]


def test_the_unknown_id_is_what_the_known_have_in_common_where_nothing_but_decay_and_means_have_moved_it(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    model = replace(config(tiny_dataset, tmp_path).model, features=False, id_dropout=0.0, id_min_count=1)
    watched = np.unique(tiny_dataset.positives(Split.train).video_row)
    for name, options in (("plain", {}), ("decay", {"weight_decay": 0.01}), ("average", {"average": 0.9})):
        asked = {"model": model, "sampler": InBatch(), "refit_epochs": 0, "optim": optim(**options)}
        ids = train(config(tiny_dataset, tmp_path / name, **asked)).towers.ids.weight.detach()
        torch.testing.assert_close(ids[1], ids[watched].mean(0), msg=name)
    taught = train(config(tiny_dataset, tmp_path / "taught", **(asked | {"model": replace(model, id_dropout=0.2)})))
    ids = taught.towers.ids.weight.detach()
    assert float((ids[1] - ids[watched].mean(0)).norm()) > 0.1


def both(one: TwoTower, two: TwoTower) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
    other = two.state_dict()
    return [(name, value.float(), other[name].float()) for name, value in one.state_dict().items()]


KILLED = """
import os, signal, sys
from pathlib import Path
import towers.training.journal as journal_module
from tests.training.test_average import everything
from towers.data import Dataset
from towers.training import train

plain_add = journal_module.Journal.add
def add(self, *arguments):
    plain_add(self, *arguments)
    if (self.stage, len(self.rows)) == {when!r}:
        os.kill(os.getpid(), signal.SIGKILL)
journal_module.Journal.add = add
train(everything(Dataset.open({dataset!r}), Path({run!r})))
"""


def everything(dataset: Dataset, run: Path) -> TrainConfig:
    """All that a checkpoint must hold: means, rows that were and were not touched, a step of several batches."""
    return config(dataset, run, optim=optim(average=0.9, tables=Tables.sparse, accumulate=2, weight_decay=0.01))


@pytest.mark.parametrize("when", [("fit", 2), ("refit", 1)])
def test_a_killed_run_goes_on_with_its_means_and_touched_rows(
    when: tuple[str, int], tiny_dataset: Dataset, tmp_path: Path
) -> None:
    whole = train(everything(tiny_dataset, tmp_path / "whole"))
    script = KILLED.format(when=when, dataset=str(tiny_dataset.folder), run=str(tmp_path / "killed"))
    checkout = str(Path(__file__).parent.parent.parent)
    killed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, cwd=checkout, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(everything(tiny_dataset, tmp_path / "killed"))
    assert same(resumed.towers, whole.towers)
    assert journal(resumed.folder) == journal(whole.folder)


def test_two_batches_to_a_step_are_half_the_steps(tiny_dataset: Dataset, tmp_path: Path) -> None:
    steps = []
    for batches in (1, 2):
        options = optim(epochs=1, positions=16, accumulate=batches)
        run = train(config(tiny_dataset, tmp_path / str(batches), refit_epochs=0, optim=options))
        checkpoint = torch.load(run.folder / "checkpoints" / "fit" / "last.ckpt", weights_only=False)
        steps.append(checkpoint["global_step"])
    assert steps[0] > 2
    assert steps[1] == -(-steps[0] // 2)
