from pathlib import Path

import pytest

from benchmarks import training
from benchmarks.training import Asked, measure, to_best
from benchmarks.worlds import MADE, World
from towers.features import Mixed
from towers.training.config import Products


@pytest.mark.parametrize("kind", ["mean", "gated"])
def test_a_row_is_of_one_encoder_at_one_width(kind: str, tiny_dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(training.SETTINGS, "kuairand", (5, 32, Mixed()))
    row, peak = measure("kuairand", World.of(str(tiny_dataset)), kind, 8, Asked(2, Products.bfloat16))
    assert peak > 50
    assert (row["protocol"], row["encoder"], row["dim"]) == ("kuairand", kind, 8)
    assert row["precision"] == "bfloat16"
    assert int(str(row["positions_per_s"])) > 0
    assert float(str(row["share_of_ceiling"])) < 1
    assert float(str(row["gflops"])) < float(str(row["ceiling_gflops"]))
    assert float(str(row["ceiling_gb_per_s"])) > float(str(row["gb_per_s"])) >= 0


def test_a_row_names_the_options_that_were_given() -> None:
    assert Asked().options() == []
    given = Asked(7, Products.float32, "cuda").options()
    assert given == ["--steps", "7", "--precision", "float32", "--device", "cuda"]


def test_the_large_log_has_the_events_it_says_and_a_heavy_head() -> None:
    world = World.made_up(users=50, videos=1000, each=40)
    assert len(world.positives) == 2000
    assert world.positives.counts().tolist() == [0, 0, *[40] * 50]
    assert world.positives.video_row.min() >= 2
    assert world.positives.video_row.max() <= 1001
    assert (world.positives.video_row < 102).mean() > 0.5
    assert len(world.videos) == 1002


def test_the_way_to_the_best_epoch_is_timed_to_where_valid_was_best(tiny_dataset: Path) -> None:
    options = [f"dataset={tiny_dataset}", "model/history=mean", "model.dim=8", "optim.epochs=3", "accelerator=cpu"]
    found, cost = to_best("kuairand", [*options, "model.window=5", "threads=1"])
    assert list(found) == ["epochs", "best_epoch", "seconds_to_best", "recall@100"]
    epochs, best = (int(str(found[name])) for name in ("epochs", "best_epoch"))
    assert 1 <= best <= epochs <= 3
    assert 0 < float(str(found["seconds_to_best"])) <= cost.seconds
    assert 0 < float(str(found["recall@100"])) <= 1


def test_a_training_that_failed_has_no_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"towers train .* ended with 2; nothing recorded"):
        to_best("kuairand", [f"dataset={tmp_path / 'none'}"])
    assert "none" in capfd.readouterr().err


def test_every_made_world_has_its_settings() -> None:
    assert set(MADE) <= set(training.SETTINGS)
