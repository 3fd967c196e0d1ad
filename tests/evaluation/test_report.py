import json
from dataclasses import replace
from pathlib import Path

import pytest

from towers.evaluation import Report
from towers.evaluation.measure import HEADLINE
from towers.evaluation.report import cell, verdict_of
from towers.types import DataError


def _figures(value: float) -> dict[str, dict[str, float] | float]:
    figure = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"users": 10.0, **{name: dict(figure) for name in HEADLINE}, "coverage@100": 0.5}


REPORT = Report(
    protocol="p",
    setting={"split": "test"},
    metrics=_figures(0.3),
    floors={"popular": _figures(0.1), "EASE": _figures(0.2)},
    left_out={},
    verdict="so",
    gain={"value": 0.1, "low": 0.05, "high": 0.15},
    slices=[],
    curves={"towers": [0.1, 0.2]},
    cost={"seconds": 1.0, "peak_mb": 2.0},
)


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    REPORT.write(tmp_path)
    assert Report.read(tmp_path) == REPORT


def test_nan_is_refused_and_nothing_is_left_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a figure is NaN or infinite"):
        replace(REPORT, curves={"towers": [float("nan")]}).write(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_missing_or_foreign_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist; make it with: towers evaluate run=… report="):
        Report.read(tmp_path)
    (tmp_path / "report.json").write_text(json.dumps({"protocol": "p"}))
    with pytest.raises(DataError, match=r"is of another version .* evaluate again"):
        Report.read(tmp_path)


def test_the_table_has_the_towers_first_and_a_cell_for_each_headline() -> None:
    header, lines = REPORT.rows()
    assert header == ["", *HEADLINE, "coverage@100"]
    assert [line[0] for line in lines] == ["towers", "popular", "EASE"]
    assert lines[0][1] == ".300 ±.010"
    assert REPORT.best_floor == "EASE"


def test_a_figure_that_is_missing_or_counted_has_no_interval() -> None:
    assert cell({}, "recall@20") == "–"
    assert cell({"users": 11354.0}, "users") == "11,354"
    assert cell({"coverage@100": {"value": 1.0, "low": 1.0, "high": 1.0}}, "coverage@100") == "1.000"


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.01, 0.03, "beat"), (-0.03, -0.01, "do not beat"), (-0.01, 0.03, "are not told apart from")],
)
def test_the_verdict_follows_the_interval(low: float, high: float, outcome: str) -> None:
    verdict = verdict_of({"value": (low + high) / 2, "low": low, "high": high}, 0.38, "EASE", 0.36)
    assert verdict.startswith(f"The towers {outcome} the best floor, EASE, on recall@100: 0.380 against 0.360")
