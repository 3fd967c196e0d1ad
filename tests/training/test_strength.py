"""How much popularity counts is what valid wants, and goes where the towers go."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.test_processes import config
from towers.data import Dataset
from towers.models import ModelConfig, PopularityTerm, RecencyHistory, TwoTower, load_towers
from towers.training import train
from towers.training.config import TrainerConfig
from towers.training.strength import LADDER, settle_strength


@pytest.fixture
def towers(tiny_dataset: Dataset) -> TwoTower:
    import torch

    model = ModelConfig(history=RecencyHistory(), dim=4, window=5, popularity=PopularityTerm.total)
    return TwoTower(
        model,
        tiny_dataset.encoders,
        *(torch.ones(len(ids), dtype=torch.bool) for ids in (tiny_dataset.videos, tiny_dataset.users)),
    )


@pytest.mark.parametrize(
    ("best", "tried"),
    [
        (1.0, [1, 1.4, 0.7]),
        (1.4, [1, 1.4, 2]),
        (2.8, [1, 1.4, 2, 2.8, 4]),
        (9.0, [1, 1.4, 2, 2.8, 4]),
        (0.7, [1, 1.4, 0.7, 0.5]),
        (0.1, [1, 1.4, 0.7, 0.5]),
    ],
)
def test_it_climbs_to_the_best(towers: TwoTower, best: float, tried: list[float]) -> None:
    asked: list[float] = []

    def validate(given: TwoTower) -> dict[str, float]:
        asked.append(given.config.strength)
        return {"recall@100": 1 - abs(given.config.strength - best) / 10, "ndcg@10": given.config.strength}

    before = towers.config
    figures, line = settle_strength(towers, validate, "recall@100")
    chosen = min(LADDER, key=lambda strength: abs(strength - best))
    assert asked == tried
    assert towers.config == replace(before, popularity_strength=chosen)
    assert figures["ndcg@10"] == chosen
    assert line.startswith(f"model.popularity_strength={chosen:g}: valid recall@100 is {figures['recall@100']:.4f}, ")
    assert before.popularity_strength is None  # whoever gave it may give it again


def test_what_is_chosen_is_saved_with_all_towers_of_the_run(
    tiny_dataset: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "towers")
    leaning = replace(config(tiny_dataset, tmp_path).model, popularity=PopularityTerm.total)
    run = train(config(tiny_dataset, tmp_path / "run", model=leaning))
    told = [record.message for record in caplog.records if "popularity_strength" in record.message]
    assert len(told) == 1
    strength = run.towers.config.popularity_strength
    assert told[0].startswith(f"chosen: model.popularity_strength={strength:g}: valid recall@100 is ")
    assert load_towers(tmp_path / "run" / "towers-before-refit").config.popularity_strength == strength
    page = json.loads((tmp_path / "run" / "run.json").read_text())
    assert f"valid recall@100 is {page['valid']['recall@100']:.4f}" in told[0]
    assert page["popularity_strength"] == strength
    two = train(config(tiny_dataset, tmp_path / "two", model=leaning, trainer=TrainerConfig(devices=2)))
    assert two.towers.config.popularity_strength == strength
    given = train(config(tiny_dataset, tmp_path / "given", model=replace(leaning, popularity_strength=1.7)))
    assert given.towers.config.popularity_strength == 1.7
    assert len([record for record in caplog.records if "popularity_strength" in record.message]) == 1
