"""Processes that each take a part of every batch learn what one process learns from the whole."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from towers.data import Dataset, Split
from towers.features import SAMPLERS, Batch, BatchSource, Mixed, Sampler, Step, Uniform, encode_table
from towers.losses import LOSSES, Loss, Softmax
from towers.models import HISTORIES, MeanHistory, ModelConfig, PopularityTerm, TwoTower
from towers.models.history import History
from towers.training import OptimConfig
from towers.training.module import TowersModule

PARTS = 3
NO_DROPOUT = {
    "history_dropout": 0.0,
    "id_dropout": 0.0,
    "user_id_dropout": 0.0,
    "dropout": 0.0,
    "user_dropout": 0.0,
    "context_dropout": 0.0,
    "time_dropout": 0.0,
}


def batches(dataset: Dataset, sampler: Sampler, positions: int, part: int = 0, parts: int = 1) -> list[Batch]:
    positives = dataset.positives(Split.train)
    weight = np.random.default_rng(0).choice([0.5, 1, 2], len(positives.weight)).astype(np.float32)
    source = BatchSource(
        type(positives)(positives.offsets, positives.video_row, positives.time_ms, weight),
        encode_table(dataset.encoders.users, dataset.user_table()),
        encode_table(dataset.encoders.videos, dataset.video_table()),
        np.arange(2, len(dataset.videos)),
        sampler,
        window=6,
        positions=positions,
        part=part,
        parts=parts,
        hardest=some_for_each_user,
    )
    return list(source.epoch(seed=0, number=0))


def some_for_each_user(step: Step, askers: int, each: int, afresh: bool) -> np.ndarray:  # noqa: ARG001
    return step.users[:askers, None] + np.arange(each)


def gradients(towers: TwoTower, loss: Loss, parts: list[Batch]) -> tuple[float, dict[str, torch.Tensor]]:
    """Return the mean loss and the mean gradients over processes that have a part each."""
    module = TowersModule(towers, loss, OptimConfig(), 0, lambda *_: False)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer to log to
    towers.zero_grad()
    value = torch.stack([module.training_step(batch, 0) for batch in parts]).mean()
    value.backward()  # type: ignore[no-untyped-call]
    asked = {name: weights for name, weights in towers.named_parameters() if weights.requires_grad}
    assert [name for name, weights in asked.items() if weights.grad is None] == []
    return float(value.detach()), {name: weights.grad.clone() for name, weights in asked.items()}  # type: ignore[union-attr]


def check(
    dataset: Dataset, loss: Loss, sampler: Sampler, history: History, positions: int = 40, **options: object
) -> None:
    torch.manual_seed(0)
    told = NO_DROPOUT | {"dim": 8, "window": 6, "user_id": True} | options
    model = ModelConfig(history=history, **told)  # type: ignore[arg-type]
    known, known_users = (torch.ones(len(ids), dtype=torch.bool) for ids in (dataset.videos, dataset.users))
    towers = TwoTower(model, dataset.encoders, known, known_users)
    whole = batches(dataset, sampler, positions)
    parts = [batches(dataset, sampler, positions, part, PARTS) for part in range(PARTS)]
    for one, each in zip(whole, zip(*parts, strict=True), strict=True):
        assert {batch.positions for batch in each} == {one.positions}
        value, expected = gradients(towers, loss, [one])
        mean, found = gradients(towers, loss, list(each))
        assert mean == pytest.approx(value, rel=1e-5)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss(kind: str, tiny_dataset: Dataset) -> None:
    check(tiny_dataset, LOSSES[kind](), Mixed(count=8), MeanHistory())


@pytest.mark.parametrize("sampler", [Uniform(count=5), *(kind() for kind in SAMPLERS.values())])
def test_every_sampler(sampler: Sampler, tiny_dataset: Dataset) -> None:
    check(tiny_dataset, Softmax(), sampler, MeanHistory())


@pytest.mark.parametrize("kind", HISTORIES)
def test_every_history(kind: str, tiny_dataset: Dataset) -> None:
    options = {"dropout": 0.0} if "dropout" in {field.name for field in fields(HISTORIES[kind])} else {}
    check(tiny_dataset, Softmax(), Mixed(count=8), HISTORIES[kind](**options))


@pytest.mark.parametrize("options", [{"interests": 2}, {"popularity": PopularityTerm.total}, {"features": False}])
def test_every_shape_of_the_towers(options: dict[str, Any], tiny_dataset: Dataset) -> None:
    check(tiny_dataset, Softmax(), Mixed(count=8), MeanHistory(), **options)


def test_fewer_windows_than_processes(tiny_dataset: Dataset) -> None:
    assert min(len(batch.weight) for batch in batches(tiny_dataset, Mixed(count=8), positions=4)) < PARTS
    check(tiny_dataset, Softmax(), Mixed(count=8), MeanHistory(), positions=4)


def test_every_window_is_in_one_part(tiny_dataset: Dataset) -> None:
    whole = batches(tiny_dataset, Mixed(count=8), 40)
    parts = [batches(tiny_dataset, Mixed(count=8), 40, part, PARTS) for part in range(PARTS)]
    for one, each in zip(whole, zip(*parts, strict=True), strict=True):
        sizes = [len(batch.weight) for batch in each]
        assert sum(sizes) == len(one.weight)
        assert max(sizes) - min(sizes) <= 1
        assert sum(int((batch.weight > 0).sum()) for batch in each) == one.positions
        assert sum(batch.worth for batch in each) == pytest.approx(PARTS)
