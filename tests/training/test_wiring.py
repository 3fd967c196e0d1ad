"""Every option of training reaches what it is about: with it, other towers are learned, or other parts are made."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.test_train import config, same
from tests.worlds import random_world
from towers.data import Dataset, Encoders, Positives, Split
from towers.features import BatchSource, spectral_vectors
from towers.losses import Softmax
from towers.models import MeanHistory, ModelConfig, PopularityTerm, RecencyHistory, TwoTower
from towers.training import OptimConfig, TrainConfig, precision, stage, train
from towers.training.adam import RowAdamW
from towers.training.config import Accelerator, Products, Schedule, Tables
from towers.training.journal import Journal, Row
from towers.training.module import TowersModule, cosine
from towers.training.stage import Stage
from towers.types import DAY_MS, RunError

MODEL = ModelConfig(history=RecencyHistory(heads=2), dim=8, window=6)
OPTIM = OptimConfig(epochs=3, positions=16, learning_rate=0.02)


def one_stage(dataset: Dataset, run: Path, **options: object) -> TrainConfig:
    return config(
        dataset, run, **({"model": MODEL, "optim": OPTIM, "refit_epochs": 0, "precision": Products.float32} | options)
    )


@pytest.fixture(scope="module")
def plain(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> TwoTower:
    return train(one_stage(tiny_dataset, tmp_path_factory.mktemp("plain") / "run")).towers


CHANGES: dict[str, dict[str, object]] = {
    "clip": {"optim": replace(OPTIM, clip=1e-4)},
    "schedule": {"optim": replace(OPTIM, schedule=Schedule.constant)},
    "warm_up": {"optim": replace(OPTIM, warm_up=1)},
    "weight_decay": {"optim": replace(OPTIM, weight_decay=0.5)},
    "tables": {"optim": replace(OPTIM, tables=Tables.sparse)},
    "precision": {"precision": Products.bfloat16},
    "spectral": {"model": replace(MODEL, spectral=False)},
    "shuffle": {"shuffle": True},
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_changes_what_is_learned(name: str, tiny_dataset: Dataset, plain: TwoTower, tmp_path: Path) -> None:
    assert not same(train(one_stage(tiny_dataset, tmp_path / "run", **CHANGES[name])).towers, plain)


def test_a_share_of_users_and_those_with_few_events_have_no_vector_of_their_own(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    own = replace(MODEL, user_id=True)
    plain, dropped, counted = (
        train(one_stage(tiny_dataset, tmp_path / name, model=model)).towers
        for name, model in (
            ("plain", own),
            ("dropped", replace(own, user_id_dropout=0.9)),
            ("counted", replace(own, user_id_min_count=4)),
        )
    )
    assert not same(dropped, plain)
    events = np.diff(tiny_dataset.positives(Split.train).offsets)
    assert 0 < (events >= 4).sum() < (events >= own.user_id_min_count).sum()
    assert plain.known_users.tolist() == (events >= own.user_id_min_count).tolist()
    assert counted.known_users.tolist() == (events >= 4).tolist()


def test_the_step_size_follows_the_schedule_step_by_step(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[float] = []
    step = RowAdamW.step

    def spy(self: RowAdamW, closure: object = None) -> object:
        sizes.append(float(self.param_groups[0]["lr"]))
        return step(self, closure)  # type: ignore[arg-type]

    monkeypatch.setattr(RowAdamW, "step", spy)
    train(one_stage(tiny_dataset, tmp_path / "run", optim=replace(OPTIM, warm_up=3)))
    assert len(sizes) > 20
    assert sizes == pytest.approx([0.02 * cosine(number, len(sizes), 3) for number in range(len(sizes))])


def test_tables_say_which_rows_a_step_moves() -> None:
    for tables, rows, sparse in (
        (Tables.dense, 30_000, False),
        (Tables.sparse, 10, True),
        (Tables.auto, 20_000, False),
        (Tables.auto, 20_001, True),
    ):
        towers = TwoTower(replace(MODEL, history=MeanHistory()), Encoders(), known(rows))
        TowersModule(towers, Softmax(), replace(OPTIM, tables=tables), 0, lambda *_: False)
        assert towers.ids.sparse is sparse, (tables, rows)


def known(rows: int) -> torch.Tensor:
    return torch.ones(rows, dtype=torch.bool)


@pytest.mark.parametrize("has_it", [True, False])
def test_products_are_in_what_was_asked_for(
    has_it: bool, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_gains_by_bfloat16", lambda: has_it)
    asked = one_stage(tiny_dataset, tmp_path / "run")
    found = {p: type(precision.precision_of(replace(asked, precision=p))).__name__ for p in Products}
    auto = "Bfloat16" if has_it else "Precision"
    assert found == {Products.auto: auto, Products.float32: "Precision", Products.bfloat16: "Bfloat16"}


def test_a_run_goes_on_in_the_products_that_it_was_begun_in(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(precision, "_cpu_gains_by_bfloat16", lambda: True)
    caplog.set_level("INFO")
    auto = one_stage(tiny_dataset, tmp_path / "run", precision=Products.auto, accelerator=Accelerator.cpu)
    add, taken = Journal.add, list[object]()

    def add_and_stop(self: Journal, number: int, loss: float, valid: dict[str, float]) -> None:
        add(self, number, loss, valid)
        raise RunError("the light went out")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add_and_stop)
        with pytest.raises(RunError, match="the light went out"):
            train(auto)
    assert "chosen: precision=bfloat16: it is the faster one here" in caplog.messages
    monkeypatch.setattr(precision, "_cpu_gains_by_bfloat16", lambda: False)
    make = precision.precision_of

    def precision_of(told: TrainConfig) -> object:
        taken.append(make(told))
        return taken[-1]

    with monkeypatch.context() as patched:
        patched.setattr(stage, "precision_of", precision_of)
        assert train(auto).info["config"]["precision"] == "bfloat16"
    assert [type(plugin) for plugin in taken] == [precision.Bfloat16]
    assert "chosen: precision=bfloat16: the run was begun in it" in caplog.messages
    caplog.clear()
    train(replace(auto, precision=Products.bfloat16))
    (told,) = caplog.messages  # nothing is chosen where nothing is trained
    assert told.endswith("had already finished; its towers stay as they are")
    with pytest.raises(RunError, match="precision was bfloat16 and is now float32"):
        train(replace(auto, precision=Products.float32))


def test_a_run_that_left_its_products_open_can_go_on(tiny_dataset: Dataset, tmp_path: Path) -> None:
    asked = one_stage(tiny_dataset, tmp_path / "run", precision=Products.auto, accelerator=Accelerator.cpu)
    train(asked)
    page = tmp_path / "run" / "config.json"
    page.write_text(json.dumps(json.loads(page.read_text()) | {"precision": "auto"}))
    assert train(asked).folder == tmp_path / "run"


AMX = {"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}


@pytest.mark.parametrize(
    ("able", "gains"),
    [
        (AMX, True),
        (AMX | {"amx_bf16": False}, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, False),
        ({"architecture": "aarch64"}, False),
    ],
)
def test_bfloat16_is_for_processors_that_gain_by_it(
    able: dict[str, bool | str], gains: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert precision._cpu_gains_by_bfloat16() is gains


@pytest.mark.parametrize("tiles", [True, False])
def test_older_torch_tells_of_tiles_alone(tiles: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: tiles)
    assert precision._cpu_gains_by_bfloat16() is tiles


def test_popularity_is_told_to_batches_and_ages_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = random_world(tmp_path / "world")
    sources: list[BatchSource] = []
    run = Stage.run

    def spy(self: Stage, towers: TwoTower, source: BatchSource) -> list[Row]:
        sources.append(source)
        return run(self, towers, source)

    monkeypatch.setattr(Stage, "run", spy)
    for days in (1.0, 9.0):
        model = replace(MODEL, popularity=PopularityTerm.recent, popularity_days=days)
        train(one_stage(world, tmp_path / f"{days}", model=model, optim=replace(OPTIM, epochs=1)))
    positives = world.positives(Split.train)
    assert np.ptp(positives.time_ms) > DAY_MS
    short, long = (next(source.epoch(0, 0)).levels for source in sources)
    assert short is not None
    assert long is not None
    assert not torch.equal(short, long)


def test_ids_that_share_tables_are_not_laid_out(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[int] = []

    def spy(positives: Positives, rows: int, dim: int, seed: int) -> np.ndarray:
        laid_out.append(1)
        return spectral_vectors(positives, rows, dim, seed)

    monkeypatch.setattr("towers.training.training.spectral_vectors", spy)
    once = replace(OPTIM, epochs=1)
    train(one_stage(tiny_dataset, tmp_path / "hashed", model=replace(MODEL, id_buckets=64), optim=once))
    assert laid_out == []
    train(one_stage(tiny_dataset, tmp_path / "plain", optim=once))
    assert laid_out == [1]
