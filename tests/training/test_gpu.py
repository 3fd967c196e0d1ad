"""A GPU learns what a CPU learns."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_parts import NO_DROPOUT, batches, gradients
from tests.training.test_train import config
from towers.data import Dataset, Split
from towers.evaluation import EvaluationSet, validate
from towers.features import Batch, Catalogue, Mixed, encode_table
from towers.losses import Softmax
from towers.models import HISTORIES, ModelConfig, TwoTower
from towers.training import Accelerator, OptimConfig, train
from towers.training.ahead import ahead
from towers.types import RunError

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU")
CPU = torch.device("cpu")


def untrained(dataset: Dataset, kind: str) -> TwoTower:
    torch.manual_seed(0)
    history = HISTORIES[kind]()
    if hasattr(history, "dropout"):
        history.dropout = 0.0
    model = ModelConfig(history=history, dim=16, window=6, **NO_DROPOUT)  # type: ignore[arg-type]
    return TwoTower(model, dataset.encoders, torch.ones(len(dataset.videos), dtype=torch.bool))


@on_a_gpu
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("kind", HISTORIES)
def test_a_step_has_the_gradients_of_a_cpu(kind: str, low: bool, tiny_dataset: Dataset) -> None:
    towers = untrained(tiny_dataset, kind)
    (batch, *_) = batches(tiny_dataset, Mixed(count=8), 40)
    value, expected = gradients(towers, Softmax(), [batch])
    with torch.autocast("cuda", torch.bfloat16, enabled=low):
        found, slopes = gradients(towers.cuda(), Softmax(), [batch.to(torch.device("cuda:0"))])
    assert found == pytest.approx(value, rel=2e-2 if low else 1e-4)  # cuDNN takes a GRU's products in TF32
    for name, slope in expected.items():
        apart = (slopes[name].cpu() - slope).norm() / slope.norm().clamp(min=1e-3)
        assert apart < (6e-2 if low else 2e-3), name


@on_a_gpu
def test_valid_is_measured_as_on_a_cpu(tiny_dataset: Dataset) -> None:
    towers = untrained(tiny_dataset, "recency")
    tables = (
        encode_table(tiny_dataset.encoders.users, tiny_dataset.user_table()),
        encode_table(tiny_dataset.encoders.videos, tiny_dataset.video_table()),
    )
    users = EvaluationSet.of(tiny_dataset, Split.valid)
    assert validate(towers, users, *tables) == pytest.approx(validate(towers.cuda(), users, *tables))


@on_a_gpu
@pytest.mark.parametrize("sampler", [Mixed(count=8), Catalogue()])
def test_a_run_goes_through(sampler: Mixed | Catalogue, tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = train(config(tiny_dataset, tmp_path / "run", accelerator=Accelerator.gpu, sampler=sampler))
    assert all(weights.isfinite().all() for weights in run.towers.parameters())


@on_a_gpu
def test_a_loss_that_is_no_number_stops_with_its_own_step(tiny_dataset: Dataset, tmp_path: Path) -> None:
    optim = OptimConfig(epochs=3, positions=64, learning_rate=1e30, clip=0.0)
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at epoch 1, step \d: .* lower optim\.learning_rate"):
        train(config(tiny_dataset, tmp_path / "run", optim=optim, accelerator=Accelerator.gpu))


def test_batches_come_ahead_in_their_order(tiny_dataset: Dataset) -> None:
    plain = batches(tiny_dataset, Mixed(count=8), 20)
    for one, two in zip(plain, ahead(iter(plain), CPU), strict=True):
        assert torch.equal(one.target, two.target)


def test_what_goes_wrong_ahead_is_raised_in_its_turn(tiny_dataset: Dataset) -> None:
    (batch, *_) = batches(tiny_dataset, Mixed(count=8), 20)

    def broken() -> Iterator[Batch]:
        yield batch
        raise RunError("no more")

    coming = ahead(broken(), CPU)
    assert np.array_equal(next(coming).rows, batch.rows)
    with pytest.raises(RunError, match="no more"):
        next(coming)


def test_who_stops_early_ends_the_thread(tiny_dataset: Dataset) -> None:
    import threading

    coming = ahead(iter(batches(tiny_dataset, Mixed(count=8), 4) * 10), CPU)
    next(coming)
    coming.close()  # type: ignore[attr-defined]  # a generator, told as an iterator
    assert not [thread for thread in threading.enumerate() if thread.name == "batches"]
