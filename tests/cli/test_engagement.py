"""The engagement head as a user meets it: on the command line, from a log to a report."""

from pathlib import Path

import numpy as np
import pytest

from tests.small import write_log
from towers.cli import main
from towers.evaluation import Report
from towers.models import load_towers
from towers.training.engagement import BEFORE


def test_from_a_log_to_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, run = write_log(tmp_path), f"run={tmp_path / 'run'}"
    dataset = f"dataset={tmp_path / 'dataset'}"
    words = ["prepare", "data=files", f"data.events={log / 'views.parquet'}", f"data.videos={log / 'videos.parquet'}"]
    assert main([*words, "data.positive=long_view = 1", "cut.valid=0.5", "cut.test=0.75", dataset]) == 0
    small = ["model.dim=8", "optim.epochs=1", "optim.positions=256", "progress=false", "accelerator=cpu"]
    train = ["train", dataset, run, *small]
    assert main(train) == 0
    capsys.readouterr()
    assert main(["evaluate", run, "floors=[popular]", "draws=10"]) == 0
    assert "log loss" not in capsys.readouterr().out
    assert main([*train, "engagement.fit=true", "engagement.epochs=1"]) == 0
    assert main(["evaluate", run, "floors=[popular]", "draws=10"]) == 0
    assert "engagement head" in capsys.readouterr().out
    told = Report.read(tmp_path / "run" / "report").engagement
    assert told is not None
    assert told["draws"] == 10
    page = (tmp_path / "run" / "report" / "report.html").read_text()
    assert "Which of the videos shown get liked" in page
    before, after = (load_towers(tmp_path / "run" / name).ids.weight.detach().numpy() for name in (BEFORE, "towers"))
    assert not np.array_equal(before, after)


def test_a_log_without_times_says_so_before_hours_of_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"{user},{video},{video}\n" for user in range(20) for video in range(9))
    (tmp_path / "views.csv").write_text("user_id,video_id,position\n" + rows)
    dataset = f"dataset={tmp_path / 'dataset'}"
    words = ["prepare", "data=files", f"data.events={tmp_path / 'views.csv'}", "cut=leave_one_out", dataset]
    assert main(words) == 0
    assert main(["train", dataset, f"run={tmp_path / 'run'}", "engagement.fit=true"]) == 2
    assert "no event has a time" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
