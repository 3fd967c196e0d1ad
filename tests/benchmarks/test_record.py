import csv
import os
from pathlib import Path

import pytest

from benchmarks.record import COLUMNS, Circumstances, read, record

HOW = Circumstances(command="python -m benchmarks.quality kuairand", seed=0, seconds=12.34, peak_mb=999.6, threads=2)


def test_a_row_says_how_it_was_measured(tmp_path: Path) -> None:
    path = record("quality", [{"metric": "recall@100", "value": 0.25}], HOW, tmp_path)
    (row,) = read("quality", tmp_path)
    assert path == tmp_path / "quality.csv"
    assert list(row) == [*COLUMNS, "metric", "value"]
    assert row["command"] == "python -m benchmarks.quality kuairand"
    assert (row["seed"], row["seconds"], row["peak_mb"], row["threads"]) == ("0", "12.3", "1000", "2")
    assert (row["metric"], row["value"]) == ("recall@100", "0.25")
    assert row["dirty"] in {"yes", "no"}
    assert len(row["commit"]) == 10
    assert all(row.values())


def test_rows_are_appended_and_never_rewritten(tmp_path: Path) -> None:
    record("speed", [{"value": 1}, {"value": 2}], HOW, tmp_path)
    before = (tmp_path / "speed.csv").read_text()
    record("speed", [{"value": 3}], HOW, tmp_path)
    after = (tmp_path / "speed.csv").read_text()
    assert after.startswith(before)
    assert [row["value"] for row in read("speed", tmp_path)] == ["1", "2", "3"]


def test_a_value_with_a_comma_stays_one_value(tmp_path: Path) -> None:
    record("speed", [{"value": "a, b"}], HOW, tmp_path)
    with (tmp_path / "speed.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["value"] == "a, b"


@pytest.mark.parametrize("row", [{"value": 1}, {"value": 1, "metric": "x"}, {"metric": "x", "value": 1, "k": 2}])
def test_other_columns_than_the_file_has_are_an_error_and_leave_the_file(
    tmp_path: Path, row: dict[str, object]
) -> None:
    record("quality", [{"metric": "x", "value": 1}], HOW, tmp_path)
    before = (tmp_path / "quality.csv").read_text()
    with pytest.raises(ValueError, match=r"quality\.csv has the columns date, .*metric, value; this row has date, .*"):
        record("quality", [row], HOW, tmp_path)
    assert (tmp_path / "quality.csv").read_text() == before


def test_no_file_has_no_rows(tmp_path: Path) -> None:
    assert read("nothing", tmp_path) == []


def test_threads_are_what_the_environment_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert Circumstances(command="x", seed=0, seconds=1.0, peak_mb=1.0).threads == len(os.sched_getaffinity(0))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert Circumstances(command="x", seed=0, seconds=1.0, peak_mb=1.0).threads == 1
