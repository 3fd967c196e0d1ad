"""Towers that give each user several queries."""

from pathlib import Path

import numpy as np
import pytest
import torch

from towers.data import TIME_UNKNOWN, Positives
from towers.features import Batch, BatchSource, Catalogue, FeatureTable, Requests
from towers.models import (
    HISTORIES,
    AttentionHistory,
    History,
    MeanHistory,
    ModelConfig,
    PopularityTerm,
    TwoTower,
    load_towers,
    query_vectors,
    save_towers,
    video_vectors,
)
from towers.types import ConfigError

from .conftest import ROWS, Make

EVENTS = np.random.default_rng(3).integers(2, ROWS, 7).astype(np.int32)


def several(
    make: Make, history: History, interests: int = 3, popularity: PopularityTerm = PopularityTerm.none
) -> TwoTower:
    plain = make()
    torch.manual_seed(1)
    config = ModelConfig(history=history, dim=8, window=6, interests=interests, popularity=popularity)
    towers = TwoTower(config, plain.encoders, plain.known)
    for parameter in towers.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.5)
    return towers.eval()


def window(video_table: FeatureTable, user_table: FeatureTable) -> Batch:
    positives = Positives(np.array([0] * 4 + [7] * 6), EVENTS, np.full(7, TIME_UNKNOWN), np.ones(7, np.float32))
    source = BatchSource(positives, user_table, video_table, np.arange(2, ROWS), Catalogue(), 6, 100)
    (batch,) = source.epoch(0, 0)
    return batch


@pytest.mark.parametrize("popularity", [PopularityTerm.none, PopularityTerm.recent])
@pytest.mark.parametrize("kind", [kind for kind in HISTORIES if kind != "auto"])
def test_serving_gives_every_query_of_training(
    kind: str, popularity: PopularityTerm, make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    towers = several(make, HISTORIES[kind](), popularity=popularity)
    with torch.no_grad():
        trained, _ = towers.queries(window(video_table, user_table))
    assert trained.shape == (1, 7, 3, towers.dim)
    table = video_vectors(towers, video_table)
    for count in range(7):
        requests = Requests.without_times(np.pad(EVENTS[:count].astype(np.int64), (0, 6 - count))[None])
        served = query_vectors(towers, table, requests, user_table.take(np.array([3])))
        np.testing.assert_allclose(served[0], trained[0, count].numpy(), atol=1e-5)


def test_the_query_that_scores_the_target_best_learns_alone(
    make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    towers, batch = several(make, MeanHistory()), window(video_table, user_table)
    every, videos = towers.queries(batch)
    every.retain_grad()
    towers.queries = lambda batch: (every, videos)  # type: ignore[method-assign]  # noqa: ARG005 - the method's own name
    chosen, _ = towers(batch)
    scores = (every * videos[batch.target][:, :, None]).sum(-1)
    torch.testing.assert_close((chosen * videos[batch.target]).sum(-1), scores.max(-1).values)
    assert len(set(scores.argmax(-1).flatten().tolist())) > 1
    chosen.sum().backward()
    assert every.grad is not None
    learns = every.grad.abs().sum(-1) > 0
    assert torch.equal(learns.long().argmax(-1), scores.argmax(-1))
    assert (learns.sum(-1) == 1).all()


def test_interests_take_up_the_vectors_of_a_state_in_turn(make: Make, user_table: FeatureTable) -> None:
    towers = several(make, AttentionHistory(heads=2))
    for parameter in towers.join[-1].parameters():
        torch.nn.init.zeros_(parameter)
    events, state = torch.randn(2, 4, 8), torch.full((2, 1), 4)
    queries = towers.states(events, state, user_table.tensors(np.array([2, 3])), torch.full((2, 5), TIME_UNKNOWN))
    torch.testing.assert_close(queries[:, :, 0], queries[:, :, 2])
    assert not torch.allclose(queries[:, :, 0], queries[:, :, 1])


def test_one_interest_is_one_query(make: Make, video_table: FeatureTable, user_table: FeatureTable) -> None:
    towers, batch = several(make, MeanHistory(), interests=1), window(video_table, user_table)
    every, _ = towers.queries(batch)
    assert every.shape == (1, 7, 8)
    assert torch.equal(towers(batch)[0], every)


def test_towers_of_several_interests_come_back(make: Make, tmp_path: Path) -> None:
    towers = several(make, MeanHistory())
    save_towers(towers, tmp_path / "towers")
    again = load_towers(tmp_path / "towers")
    assert again.config == towers.config
    for name, weight in towers.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name


def test_no_interest_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.interests is 0; expected at least 1"):
        ModelConfig(history=MeanHistory(), interests=0)
