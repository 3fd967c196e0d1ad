"""The term for popularity: one more coordinate that history does not read and that training sees day by day."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from towers.data import TIME_UNKNOWN, Positives
from towers.features import BatchSource, Catalogue, FeatureTable, Requests, Trend
from towers.index import Exact
from towers.models import (
    MeanHistory,
    ModelConfig,
    PopularityTerm,
    TwoTower,
    load_towers,
    query_vectors,
    save_towers,
    video_vectors,
)
from towers.types import ConfigError, Geometry

from .conftest import ROWS, Make

DAY_MS = 86_400_000
DIM = 8


@pytest.fixture
def towers(make: Make) -> TwoTower:
    plain = make()
    leaning = TwoTower(
        ModelConfig(history=plain.config.history, dim=DIM, window=5, popularity=PopularityTerm.recent),
        plain.encoders,
        plain.known,
    )
    leaning.load_state_dict(plain.state_dict(), strict=False)
    torch.nn.init.normal_(leaning.lean.weight)
    leaning.tell(torch.linspace(-2, 3, ROWS))
    return leaning


def queries(towers: TwoTower, vectors: np.ndarray, users: FeatureTable) -> np.ndarray:
    requests = Requests.without_times(np.array([[3, 4, 5], [0, 0, 0]]))
    return query_vectors(towers, vectors, requests, users.take(np.array([2, 3])))


def test_scores_are_those_without_the_term_and_the_leaning_times_the_level(
    towers: TwoTower, make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    plain = make()
    vectors, without = video_vectors(towers, video_table), video_vectors(plain, video_table)
    asked, before = queries(towers, vectors, user_table), queries(plain, without, user_table)
    assert (towers.dim, towers.geometry) == (DIM + 1, Geometry.dot)
    np.testing.assert_allclose(vectors[1:, :DIM], without[1:], atol=1e-6)
    np.testing.assert_allclose(asked[:, :DIM], before, atol=1e-6)
    np.testing.assert_allclose(vectors[1:, DIM], towers.level[1:].numpy(), atol=1e-6)
    assert (asked[:, DIM] > 0).all()
    assert asked[0, DIM] != asked[1, DIM]
    hits = Exact().build(vectors[2:], np.arange(2, ROWS), towers.geometry).search(asked, 5)
    expected = before @ without[2:].T + asked[:, DIM:] * np.linspace(-2, 3, ROWS)[2:]
    np.testing.assert_allclose(hits.scores, -np.sort(-expected)[:, :5], atol=1e-5)


def test_the_strength_multiplies_the_term(
    towers: TwoTower, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    vectors = video_vectors(towers, video_table)
    whole = queries(towers, vectors, user_table)
    towers.config.popularity_strength = 0.25
    quarter = queries(towers, vectors, user_table)
    np.testing.assert_allclose(quarter[:, DIM], whole[:, DIM] / 4, rtol=1e-6)
    np.testing.assert_array_equal(quarter[:, :DIM], whole[:, :DIM])


def test_training_scores_each_target_by_what_was_known_on_its_day(
    towers: TwoTower, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    events = np.array([3, 5, 3, 7], np.int32)
    times = np.array([0, 10, DAY_MS, 3 * DAY_MS])
    positives = Positives(np.array([0] * 4 + [4] * 6), events, times, np.ones(4, np.float32))
    trend = Trend.of(positives, np.arange(2, ROWS), ROWS, 2.0)
    source = BatchSource(
        positives, user_table, video_table, np.arange(2, ROWS), Catalogue(), towers.window, 100, trend=trend
    )
    (batch,) = source.epoch(0, 0)
    towers.eval()
    with torch.no_grad():
        trained, videos = towers(batch)
        for column, day in enumerate((1, 1, 2, 4)):
            towers.tell(torch.from_numpy(trend.levels[:, day].copy()))
            vectors = video_vectors(towers, video_table)
            history = np.zeros((1, 5), np.int64)
            known = int(batch.state[0, column])
            history[0, :known] = events[:known]
            requests = replace(Requests.without_times(history), asked_ms=times[column : column + 1])
            served = query_vectors(towers, vectors, requests, user_table.take(np.array([3])))
            np.testing.assert_allclose((trained[0, column] @ videos.T).numpy(), served[0] @ vectors[2:].T, atol=1e-5)


def test_a_history_is_read_without_how_popular_its_videos_are(
    towers: TwoTower, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    before = queries(towers, video_vectors(towers, video_table), user_table)
    towers.tell(torch.linspace(9, 1, ROWS))
    np.testing.assert_array_equal(queries(towers, video_vectors(towers, video_table), user_table), before)


def test_towers_with_the_term_come_back_and_go_on(towers: TwoTower, tmp_path: Path) -> None:
    save_towers(towers, tmp_path / "towers")
    again = load_towers(tmp_path / "towers")
    assert again.config == towers.config
    assert torch.equal(again.level, towers.level)
    later = TwoTower(towers.config, towers.encoders, towers.known)
    later.tell(torch.ones(ROWS))
    later.continue_from(towers)
    assert torch.equal(later.lean.weight, towers.lean.weight)
    assert torch.equal(later.level, torch.ones(ROWS))


def test_history_dropout_makes_a_query_a_new_users(make: Make, user_table: FeatureTable) -> None:
    towers = make()
    events, users = torch.randn(2, 4, DIM), user_table.tensors(np.array([2, 5]))
    moment, state = torch.full((2, 5), TIME_UNKNOWN), torch.arange(5).expand(2, -1)
    for module in towers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    towers.config.user_dropout, towers.config.history_dropout = 0.0, 1.0
    trained = towers.train().states(events, state, users, moment)
    served = towers.eval().states(events, state, users, moment)
    torch.testing.assert_close(trained, served[:, :1].expand_as(trained))
    assert not torch.allclose(served[:, 0], served[:, 4])


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("popularity_days", 0.0, r"model\.popularity_days is 0\.0; expected above 0"),
        ("popularity_strength", -1.0, r"model\.popularity_strength is -1\.0; expected at least 0"),
        ("history_dropout", 2.0, r"model\.history_dropout is 2\.0; expected from 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"history": MeanHistory(), option: value})  # type: ignore[arg-type]
