"""The engagement head: what it learns, that it repeats itself, and what it refuses."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.tiny import write_run
from tests.worlds import write_world
from towers.data import Dataset, Split
from towers.evaluation.engaged import FLOOR, engagement_of
from towers.metrics import Judgement
from towers.models import load_towers, open_run
from towers.models.engagement import EngagementConfig, logistic
from towers.models.engagement_model import ENGAGEMENT, EngagementModel, open_engagement
from towers.models.occasions import Occasions
from towers.training import OptimConfig, train
from towers.training.claim import claimed
from towers.training.engagement import add_engagement, fit_engagement, warn_of_outcomes
from towers.training.ranks import Ranks, joined
from towers.types import ConfigError, DataError, RunError, TowersError

from .test_train import config

USERS, VIDEOS, DAY = 30, 300, 86_400_000
SMALL = EngagementConfig(fit=True, context=["place"], epochs=2, members=2, hidden=8, ridge=30.0)


def shown(folder: Path, seed: int = 0, told: bool = True) -> Dataset:
    """Videos are liked by their own appeal, and twice as often at home; with `told` false all shown are liked."""
    rng = np.random.default_rng(seed)
    dataset = write_world(folder, [("u00", "v00", "train")], VIDEOS, [f"u{n:02d}" for n in range(USERS)])
    user = np.repeat(np.arange(USERS), 150)
    video = np.concatenate([rng.permutation(VIDEOS)[:150] for _ in range(USERS)])
    time_ms = np.concatenate([np.sort(rng.integers(0, 9 * DAY, 150)) for _ in range(USERS)])
    home = rng.random(len(user)) < 0.5
    liked = rng.random(len(user)) < np.where(home, 0.6, 0.2) * np.where(video % 3 == 0, 1.5, 0.5)
    columns = {
        "user_row": (user + 2).astype(np.int32), "video_row": (video + 2).astype(np.int32), "time_ms": time_ms,
        "position": np.zeros(len(user), np.int32),
        "split": ((time_ms >= 5 * DAY).astype(np.int8) + (time_ms >= 7 * DAY)).astype(np.int8),
        "positive": liked if told else np.ones(len(user), bool), "weight": np.ones(len(user), np.float32),
        "place": np.where(home, "home", "search"),
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return dataset


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Path]:
    folder = tmp_path_factory.mktemp("engagement")
    dataset = shown(folder / "dataset")
    return dataset, write_run(folder / "run", dataset)


def fitted(dataset: Dataset, run: Path, config: EngagementConfig = SMALL, seed: int = 0) -> EngagementModel:
    towers = load_towers(run / "towers")
    return fit_engagement(config, dataset, towers, towers, seed)


def chances_of(dataset: Dataset, run: Path, model: EngagementModel) -> tuple[np.ndarray, np.ndarray]:
    occasions = Occasions.of(dataset, list(model.values))
    places = occasions.exposures.of_split(Split.test)
    return model.chances(occasions, load_towers(run / "towers"), places), occasions.exposures.liked[places]


def test_the_head_beats_the_rates_and_is_calibrated(world: tuple[Dataset, Path]) -> None:
    dataset, run = world
    fitted(dataset, run).save(run / ENGAGEMENT)
    told = engagement_of(open_run(run), dataset, Split.test, draws=50, seed=0)
    assert told is not None
    ours, floor = told["figures"]["engagement head"], told["figures"][FLOOR]
    assert ours["auc"]["value"] > floor["auc"]["value"] + 0.05  # it knows the place
    assert told["auc gain"]["low"] > 0
    assert ours["calibration_error"]["value"] < 0.08
    assert ours["auc"]["low"] <= ours["auc"]["value"] <= ours["auc"]["high"]
    assert sum(count for _, _, count in told["calibration"][FLOOR]) == told["exposures"]


def test_the_head_is_told_users_own_vectors(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = world
    towers = load_towers(write_run(tmp_path / "run", dataset, user_id=True) / "towers")
    occasions = Occasions.of(dataset, [])
    places = occasions.exposures.of_split(Split.train)
    before, _ = occasions.vectors(towers, places)
    with torch.no_grad():
        towers.user_ids.weight[7] += 1  # type: ignore[union-attr]
    moved = np.abs(occasions.vectors(towers, places)[0] - before).max(axis=1) > 1e-3
    np.testing.assert_array_equal(moved, occasions.exposures.user_row[places] == 7)


def test_the_same_seed_gives_the_same_head_and_another_another(world: tuple[Dataset, Path]) -> None:
    dataset, run = world
    torch.manual_seed(5)
    first = chances_of(dataset, run, fitted(dataset, run))[0]
    torch.manual_seed(6)
    assert np.array_equal(first, chances_of(dataset, run, fitted(dataset, run))[0])
    assert not np.array_equal(first, chances_of(dataset, run, fitted(dataset, run, seed=1))[0])


def test_nothing_of_test_is_learned_from(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, run = world
    other = shown(tmp_path / "other")
    table = pq.read_table(other.folder / "events.parquet")
    flipped = np.where(table["split"].to_numpy() == 2, ~table["positive"].to_numpy(), table["positive"].to_numpy())
    place = table.schema.get_field_index("positive")
    pq.write_table(table.set_column(place, "positive", pa.array(flipped)), other.folder / "events.parquet")
    before, after = fitted(dataset, run), fitted(Dataset.open(other.folder), run)
    assert before.threshold == after.threshold
    weights = after.head.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in before.head.state_dict().items())


def test_what_is_saved_says_the_same_again(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, run = world
    model = fitted(dataset, run)
    model.save(tmp_path / ENGAGEMENT)
    again = open_engagement(tmp_path)
    assert again is not None
    assert again.head.config == SMALL
    assert again.threshold == model.threshold
    assert np.array_equal(chances_of(dataset, run, model)[0], chances_of(dataset, run, again)[0])


def test_a_run_without_a_head_has_none_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    assert open_engagement(tmp_path) is None
    (tmp_path / ENGAGEMENT).mkdir()
    with pytest.raises(RunError, match=r"holds no engagement head of this version .*fit it again: towers train"):
        open_engagement(tmp_path)


def test_a_finished_run_gets_a_head_once(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = world
    run = write_run(tmp_path / "run", dataset)
    add_engagement(SMALL, run, dataset, seed=0)
    written = (run / ENGAGEMENT / "head.json").stat().st_mtime_ns
    add_engagement(SMALL, run, dataset, seed=0)
    assert (run / ENGAGEMENT / "head.json").stat().st_mtime_ns == written
    add_engagement(dataclasses.replace(SMALL, epochs=1), run, dataset, seed=0)
    assert open_engagement(run).head.config.epochs == 1  # type: ignore[union-attr]


def test_a_refitted_run_needs_its_towers_of_before(world: tuple[Dataset, Path], tmp_path: Path) -> None:
    dataset, _ = world
    run = write_run(tmp_path / "run", dataset)
    page = run / "run.json"
    page.write_text(page.read_text().replace('"best_epoch"', '"refitted": true, "best_epoch"'))
    with pytest.raises(RunError, match=r"holds no towers-before-refit, the towers that had not seen it"):
        add_engagement(SMALL, run, dataset, seed=0)


def test_other_towers_are_read_as_the_ones_learned_with(world: tuple[Dataset, Path]) -> None:
    """Towers whose vectors all lie a little further along one way are the same to the head once it is recentred."""
    model = fitted(*world)
    inputs = torch.randn(50, len(model.head.get_buffer("mean")), dtype=torch.float64)
    before = model.head.last(inputs)
    model.head.recentre(inputs, inputs + 0.7)
    assert torch.allclose(model.head.last(inputs + 0.7), before)
    assert not torch.allclose(model.head.last(inputs), before)


def test_a_log_of_positives_alone_is_refused(tmp_path: Path) -> None:
    dataset = shown(tmp_path / "dataset", told=False)
    run = write_run(tmp_path / "run", dataset)
    with pytest.raises(DataError, match=r"of \d+ exposures in train \d+ are positives; an engagement head needs"):
        fitted(dataset, run)


def test_vectors_that_are_no_numbers_are_refused(world: tuple[Dataset, Path]) -> None:
    model = fitted(*world)
    known = Occasions.of(world[0], ["place"]).known(model.values, np.arange(3))
    bad = np.full((3, model.head.dim), np.nan, np.float32)
    with pytest.raises(TowersError, match=r"the probability of exposure 0 is not finite \(3 such\)"):
        model.head(known, bad, bad)
    with pytest.raises(TowersError, match=r"an input of the engagement head is not finite"):
        logistic(torch.tensor([[torch.nan]], dtype=torch.float64), torch.ones(1, dtype=torch.float64), 1.0)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [("epochs", 0, "above 0"), ("ridge", -1.0, "above 0"), ("dropout", 1.0, "from 0 to below 1"),
     ("exposures", 5, "at least 1000"), ("decay", -0.5, "at least 0")],
)  # fmt: skip
def test_a_bad_option_is_named_with_its_value(option: str, value: float, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"engagement.{option} is {value}; expected {expected}"):
        EngagementConfig(**{option: value})  # type: ignore[arg-type]


def test_figures_are_those_of_the_chances(world: tuple[Dataset, Path]) -> None:
    dataset, run = world
    model = fitted(dataset, run)
    model.save(run / ENGAGEMENT)
    told = engagement_of(open_run(run), dataset, Split.test, draws=2, seed=0)
    assert told is not None
    expected = Judgement.of(*chances_of(dataset, run, model), model.threshold).figures()
    assert {name: f["value"] for name, f in told["figures"]["engagement head"].items()} == expected
    assert engagement_of(open_run(run), dataset, Split.valid, draws=2, seed=0) is None


def test_the_head_is_fitted_once_the_processes_have_parted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    @contextmanager
    def joining(devices: int) -> Iterator[Ranks]:
        with joined(devices) as ranks:
            yield ranks
        order.append("parted")

    def add(config: EngagementConfig, folder: Path, dataset: Dataset, seed: int) -> None:
        order.append("fitted")
        with pytest.raises(RunError, match="another process trains in"), claimed(folder, {}, {}):
            pass
        add_engagement(config, folder, dataset, seed)

    monkeypatch.setattr("towers.training.training.joined", joining)
    monkeypatch.setattr("towers.training.training.add_engagement", add)
    run = train(config(shown(tmp_path / "dataset"), tmp_path / "run", engagement=SMALL, optim=OptimConfig(epochs=1)))
    assert order == ["parted", "fitted"]
    assert open_engagement(run.folder) is not None


def test_one_user_who_has_all_positives_of_valid_is_too_few(tmp_path: Path) -> None:
    dataset = shown(tmp_path / "dataset")
    place = dataset.folder / "events.parquet"
    events = pq.read_table(place)
    valid, user = events["split"].to_numpy() == 1, events["user_row"].to_numpy()
    liked = np.where(valid, user == user[0], events["positive"].to_numpy())
    column = events.column_names.index("positive")
    pq.write_table(events.set_column(column, "positive", pa.array(liked)), place)
    with pytest.raises(DataError, match=r"without one in \d users the exposures in valid are of one outcome alone"):
        fitted(dataset, write_run(tmp_path / "run", dataset))


def test_a_context_that_tells_nothing_or_too_much_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = shown(tmp_path / "dataset")
    place = dataset.folder / "events.parquet"
    events = pq.read_table(place)
    seen = pa.array(np.arange(len(events)) / 7)
    pq.write_table(events.append_column("watch_ms", seen), place)
    dataset.manifest["source"] = {"positive": "Watch_ms > 3 OR placed"}
    asked = dataclasses.replace(SMALL, context=["place", "watch_ms"])
    warn_of_outcomes(asked, dataset)
    model = fitted(dataset, write_run(tmp_path / "run", dataset), asked)
    assert model.values == {"place": ["home", "search"], "watch_ms": []}
    assert "engagement.context: watch_ms tells nothing: no value is met" in caplog.text
    assert "engagement.context has watch_ms, which data.positive='Watch_ms > 3 OR placed' reads" in caplog.text
    assert "place," not in caplog.text
