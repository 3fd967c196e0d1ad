import argparse
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.quality import (
    Cost,
    Figures,
    disagreements,
    measure,
    ml_1m,
    quality_rows,
    spend,
    work_folder,
)


def test_ml_1m_keeps_the_order_of_the_lines(tmp_path: Path) -> None:
    raw = tmp_path / "ml-1m"
    raw.mkdir()
    (raw / "ml-1m.txt").write_text("1 20\n1 10\n2 10\n")
    assert "cut=leave_one_out" in ml_1m(tmp_path, tmp_path)
    rows = pq.read_table(tmp_path / "events.parquet").to_pylist()
    assert [(row["user_id"], row["video_id"], row["position"]) for row in rows] == [(1, 20, 0), (1, 10, 1), (2, 10, 2)]


def test_every_metric_of_the_referee_must_be_ours() -> None:
    ours: Figures = {"recall@100": {"value": 0.25, "low": 0.2, "high": 0.3}, "hit@10": 0.5}
    assert disagreements(ours, {"recall@100": 0.25, "hit@10": 0.5, "hit@10 ±": 0.1, "users": 3.0}) == []
    assert disagreements(ours, {"recall@100": 0.2500001}) == ["recall@100: 0.25 here, 0.2500001 at the referee"]
    assert disagreements(ours, {"mrr@100": 0.1}) == ["mrr@100: nan here, 0.1 at the referee"]


def test_a_metric_without_an_interval_leaves_it_empty() -> None:
    (row,) = quality_rows("kuairand", "floor: popular", {"recall@100": 0.25, "users": 7})
    assert row == {
        "protocol": "kuairand",
        "recipe": "floor: popular",
        "metric": "recall@100",
        "value": "0.250000",
        "low": "",
        "high": "",
    }


def test_the_memory_of_a_command_is_counted_in_megabytes() -> None:
    small = spend([sys.executable, "-c", "pass"])
    code = "block = bytearray(300_000_000); block[::4096] = b'x' * len(block[::4096])"
    assert 300 < spend([sys.executable, "-c", code]).peak_mb < 350 + small.peak_mb


def test_a_failing_command_records_nothing() -> None:
    with pytest.raises(SystemExit, match=r"raise SystemExit\(3\) ended with 3; nothing recorded"):
        spend([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(("dirty", "ending"), [("no", ""), ("yes", "-dirty")])
def test_every_state_of_the_code_works_in_a_folder_of_its_own(
    monkeypatch: pytest.MonkeyPatch, dirty: str, ending: str
) -> None:
    monkeypatch.setattr("benchmarks.quality.surroundings", lambda: {"commit": "0123abcdef", "dirty": dirty})
    assert work_folder(Path("runs"), "ml-1m") == Path(f"runs/ml-1m-0123abcdef{ending}")


def test_a_run_that_was_begun_is_not_measured_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr("benchmarks.quality.spend", commands.append)
    run = work_folder(tmp_path, "kuairand") / "run-kuairand-0"
    run.mkdir(parents=True)
    arguments = argparse.Namespace(work=str(tmp_path), data="", recipe=None, referee=None, seeds=[0])
    with pytest.raises(
        SystemExit, match=r"run-kuairand-0 is there, so not all would be measured; remove it, or choose another --work"
    ):
        measure("kuairand", 0, arguments)
    assert commands == []


def test_rows_say_whether_the_referee_was_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[str] = []
    monkeypatch.setattr("benchmarks.quality.spend", lambda command: _pretend(command))
    monkeypatch.setattr("benchmarks.quality.record", lambda _name, _rows, how: recorded.append(how.command))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: argparse.Namespace(stdout='{"hit@10": 0.5}'))
    for referee in (None, "somewhere/referee.py"):
        monkeypatch.setattr("benchmarks.quality.work_folder", lambda *_, at=referee: tmp_path / str(bool(at)))
        arguments = argparse.Namespace(work=str(tmp_path), data="", recipe="ml-1m-fast", referee=referee, seeds=[0])
        (tmp_path / str(bool(referee)) / "dataset").mkdir(parents=True)
        measure("ml-1m", 0, arguments)
    said = "python -m benchmarks.quality ml-1m --recipe ml-1m-fast"
    assert recorded == [said, f"{said} --referee referee.py"]


@pytest.mark.parametrize(
    ("recipe", "told", "said"), [(None, ["experiment=ml-1m"], ""), ("nothing set", [], " --recipe 'nothing set'")]
)
def test_training_is_told_the_recipe_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str | None, told: list[str], said: str
) -> None:
    commands: list[list[str]] = []
    recorded: list[str] = []

    def spend(command: list[str]) -> Cost:
        commands.append(command)
        return _pretend(command)

    monkeypatch.setattr("benchmarks.quality.spend", spend)
    monkeypatch.setattr("benchmarks.quality.record", lambda _name, _rows, how: recorded.append(how.command))
    arguments = argparse.Namespace(work=str(tmp_path), data="", recipe=recipe, referee=None, seeds=[0])
    (work_folder(tmp_path, "ml-1m") / "dataset").mkdir(parents=True)
    measure("ml-1m", 0, arguments)
    assert [word for word in commands[0] if word.startswith("experiment=")] == told
    assert recorded == [f"python -m benchmarks.quality ml-1m{said}"]


def _pretend(command: list[str]) -> Cost:
    for word in command:
        if word.startswith("report="):
            folder = Path(word.removeprefix("report="))
            folder.mkdir()
            (folder / "report.json").write_text('{"metrics": {"hit@10": 0.5}, "floors": {}}')
    return Cost(1.0, 1.0)
