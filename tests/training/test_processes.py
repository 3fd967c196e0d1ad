"""Several real processes: they learn what one learns, fail together, and leave a run that goes on."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from tests.training.test_parts import NO_DROPOUT
from tests.worlds import random_world
from towers.data import Dataset
from towers.features import Hard, Mixed
from towers.losses import Softmax
from towers.models import ModelConfig, PopularityTerm, RecencyHistory, Run, open_run
from towers.training import OptimConfig, TrainConfig, launch, train
from towers.training.checkpoint import read_checkpoint
from towers.training.config import Accelerator, Products, Strategy, Tables, TrainerConfig
from towers.training.journal import Journal
from towers.types import ConfigError, RunError

SABOTAGED = launch.BOOT.replace("towers.training.launch", "tests.training.saboteur")


def config(dataset: Dataset, run: Path, **options: object) -> TrainConfig:
    given = {
        "model": ModelConfig(history=RecencyHistory(), dim=8, window=6, user_id=True, **NO_DROPOUT),  # type: ignore[arg-type]
        "loss": Softmax(),
        "sampler": Mixed(count=8),
        "optim": OptimConfig(epochs=3, positions=64, learning_rate=0.02, average=0.9, tables=Tables.sparse),
        "accelerator": Accelerator.cpu,
        "precision": Products.float32,
        "progress": False,
        "threads": 1,
        "refit_epochs": 1,
    }
    return TrainConfig(dataset=str(dataset.folder), run=str(run), **(given | options))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def alone(tiny_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What one process learns."""
    return train(config(tiny_dataset, tmp_path_factory.mktemp("alone") / "run"))


class Recorded(subprocess.Popen[bytes]):
    started: ClassVar[list["Recorded"]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - whatever Popen takes
        super().__init__(*arguments, **options)
        self.started.append(self)


def epochs(run: Path) -> list[dict[str, float]]:
    with (run / "history.csv").open(newline="") as file:
        rows = csv.DictReader(file)
        return [
            {name: float(row[name] or 0) for name in row if name not in {"stage", "seconds", "positions_per_s"}}
            for row in rows
        ]


def check_equal(run: Run, other: Run) -> None:
    for one, two in zip(epochs(run.folder), epochs(other.folder), strict=True):
        assert one == pytest.approx(two, rel=1e-5)
    for name, weights in run.towers.state_dict().items():
        torch.testing.assert_close(weights, other.towers.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("strategy", [Strategy.ddp, Strategy.rows])
def test_when_one_is_killed_all_end_and_another_number_goes_on(
    strategy: Strategy, alone: Run, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "BOOT", SABOTAGED)
    monkeypatch.setenv("SABOTAGE", "1 3 self SIGKILL")
    monkeypatch.setattr(subprocess, "Popen", Recorded)
    monkeypatch.setattr(Recorded, "started", [])
    two = TrainerConfig(devices=2, strategy=strategy)
    with pytest.raises(RunError, match=r"process 1 of this training was killed by SIGKILL .* goes on after the last"):
        train(config(tiny_dataset, tmp_path / "run", trainer=two))
    # Not "no child is left": this process may have others, from other tests.
    assert [process.returncode for process in Recorded.started] == [-signal.SIGKILL] * 2
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "fit" / "last.ckpt")["epoch"] == 1
    check_equal(train(config(tiny_dataset, tmp_path / "run")), alone)


def test_one_that_says_nothing_any_more_is_missed(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "BOOT", SABOTAGED)
    monkeypatch.setenv("SABOTAGE", "1 1 self SIGSTOP")  # as a machine that is away without a word
    monkeypatch.setenv("PATIENCE_S", "3")
    with pytest.raises(
        RunError, match=r"process 0 has lost another process .*Timed out waiting 3000ms .* goes on after"
    ):
        train(config(tiny_dataset, tmp_path / "run", trainer=TrainerConfig(devices=2)))
    assert len(epochs(tmp_path / "run")) == 1


def test_rows_are_dealt_out_where_one_process_stopped(
    alone: Run, tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Journal.add

    def add_and_stop(self: Journal, number: int, loss: float, valid: dict[str, float]) -> None:
        add(self, number, loss, valid)
        if number == 2:
            raise RunError("the light went out")

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", add_and_stop)
        with pytest.raises(RunError, match="the light went out"):
            train(config(tiny_dataset, tmp_path / "run"))
    two = TrainerConfig(devices=2, strategy=Strategy.rows)
    check_equal(train(config(tiny_dataset, tmp_path / "run", trainer=two)), alone)


def test_a_fault_in_machine_code_says_where(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launch, "BOOT", SABOTAGED)
    monkeypatch.setenv("SABOTAGE", "0 1 self SIGSEGV")
    with pytest.raises(
        RunError, match=r"process 0 .* by SIGSEGV \(a fault in machine code; where it was stands above\)"
    ):
        train(config(tiny_dataset, tmp_path / "run", trainer=TrainerConfig(devices=2)))
    told = capfd.readouterr().err
    assert "Segmentation fault" in told
    assert 'saboteur.py", line' in told


KILLED = """
from pathlib import Path
from tests.training.test_processes import SABOTAGED, config
from towers.data import Dataset
from towers.training import launch, train
from towers.training.config import TrainerConfig
launch.BOOT = SABOTAGED
train(config(Dataset.open({dataset!r}), Path({run!r}), trainer=TrainerConfig(devices=2)))
"""


def test_processes_learn_where_things_have_no_features(tiny_dataset: Dataset, tmp_path: Path) -> None:
    bare = ModelConfig(history=RecencyHistory(), dim=8, window=6, features=False, **NO_DROPOUT)  # type: ignore[arg-type]
    two = TrainerConfig(devices=2)
    run = train(config(tiny_dataset, tmp_path / "two", model=bare, trainer=two))
    check_equal(run, train(config(tiny_dataset, tmp_path / "one", model=bare)))


@pytest.mark.parametrize("strategy", [Strategy.ddp, Strategy.rows])
def test_processes_learn_what_is_popular_day_by_day(strategy: Strategy, tmp_path: Path) -> None:
    world = random_world(tmp_path / "world", users=30, videos=40)
    recent = ModelConfig(history=RecencyHistory(), dim=8, window=6, popularity=PopularityTerm.recent, **NO_DROPOUT)  # type: ignore[arg-type]
    one, two = (
        train(config(world, tmp_path / f"run{devices}", model=recent, trainer=trainer))
        for devices, trainer in ((1, TrainerConfig()), (2, TrainerConfig(devices=2, strategy=strategy)))
    )
    assert one.towers.level.abs().max() > 0.1
    check_equal(two, one)


def test_processes_find_the_same_hard_candidates(tiny_dataset: Dataset, tmp_path: Path) -> None:
    # Their vectors are renewed within an epoch, from a table that is dealt out by rows, too.
    hard: dict[str, Any] = {"sampler": Hard(count=8, askers=4, each=3, every=3)}
    one = train(config(tiny_dataset, tmp_path / "one", **hard))
    for strategy in Strategy:
        two = TrainerConfig(devices=2, strategy=strategy)
        check_equal(train(config(tiny_dataset, tmp_path / strategy.name, **hard, trainer=two)), one)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="accelerator is gpu, and torch finds none here; auto takes one where"):
        train(config(tiny_dataset, tmp_path / "run", accelerator=Accelerator.gpu))
    assert not (tmp_path / "run").exists()


def test_when_the_one_that_started_them_is_killed_none_is_left(tiny_dataset: Dataset, tmp_path: Path) -> None:
    script = KILLED.format(dataset=str(tiny_dataset.folder), run=str(tmp_path / "run"))
    # It returns when nobody holds the other end of its output any more. The first process has then written its epoch.
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"SABOTAGE": "0 1 parent SIGKILL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(epochs(tmp_path / "run")) == 1


def test_what_one_process_raises_is_raised_here(alone: Run, tiny_dataset: Dataset) -> None:
    with pytest.raises(RunError, match=r"holds a run with other options: seed was 0 and is now 9"):
        train(config(tiny_dataset, alone.folder, seed=9, trainer=TrainerConfig(strategy=Strategy.ddp)))


def test_two_processes_of_torchrun_learn_what_one_learns_and_one_speaks(
    alone: Run, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    options = [
        *(f"model.{name}=0" for name in NO_DROPOUT),
        *("model.dim=8", "model.window=6", "sampler.count=8", "optim.epochs=3", "optim.positions=64", "threads=1"),
        *("model/history=recency", "model.user_id=true", "optim.tables=sparse", "optim.average=0.9"),
        *("optim.learning_rate=0.02", "accelerator=cpu", "precision=float32", "refit_epochs=1"),
    ]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    towers = [sys.executable, "-c", "import sys; from towers.cli import main; sys.exit(main())", "train"]
    told = [*command, *towers, f"dataset={tiny_dataset.folder}", f"run={tmp_path / 'run'}", *options]
    done = subprocess.run(told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("best epoch") == 1
    assert done.stderr.count("\nfit   1") == 1
    check_equal(open_run(tmp_path / "run"), alone)


def test_a_number_of_devices_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.devices is 0; expected at least 1"):
        TrainerConfig(devices=0)


def test_another_number_than_torchruns_is_refused(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"trainer\.devices is 2, and torchrun has started 3 processes; leave it out"):
        train(config(tiny_dataset, tmp_path / "run", trainer=TrainerConfig(devices=2)))
