from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.record import Circumstances, read, record, surroundings

PAGE = "before\n<!-- table: quality-kuairand -->\nold\n<!-- end of table -->\nafter\n"


def keep(folder: Path, recipe: str, seed: int, value: float) -> None:
    how = Circumstances(command="python -m benchmarks.quality kuairand", seed=seed, seconds=100 + seed, peak_mb=900)
    row = {"protocol": "kuairand", "recipe": recipe, "metric": "recall@100", "value": value, "low": 0, "high": 1}
    record("quality", [row], how, folder)


def test_a_table_holds_the_mean_and_spread_of_the_seeds(tmp_path: Path) -> None:
    keep(tmp_path, "kuairand", 0, 0.40)
    keep(tmp_path, "kuairand", 1, 0.44)
    keep(tmp_path, "floor: popular", 0, 0.2)
    lines = report.rewritten(PAGE, tmp_path).splitlines()
    assert lines[0] == "before"
    assert lines[-1] == "after"
    assert "| kuairand | 0.4200 ± 0.0200 | – | – | – | – | – | – | 0, 1 | 100 | 900 |" in lines
    assert "| floor: popular | 0.2000 | – | – | – | – | – | – | – | – | – |" in lines
    assert lines.index(next(line for line in lines if "popular" in line)) < lines.index(
        next(line for line in lines if "| kuairand | 0.42" in line)
    )
    assert "old" not in lines


def test_a_newer_row_of_the_same_seed_takes_the_place_of_the_older(tmp_path: Path) -> None:
    keep(tmp_path, "kuairand", 0, 0.30)
    keep(tmp_path, "kuairand", 0, 0.40)
    assert "| kuairand | 0.4000 |" in report.rewritten(PAGE, tmp_path)


@pytest.mark.parametrize(("alike", "said"), [(("older", "newer"), "0.3500 ± 0.0500"), (("older", "other"), "0.4000 |")])
def test_seeds_of_commits_that_learn_alike_stand_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alike: tuple[str, str], said: str
) -> None:
    keep(tmp_path, "kuairand", 0, 0.30)
    keep(tmp_path, "kuairand", 1, 0.40)
    rows = [row | {"commit": ("older", "newer")[place]} for place, row in enumerate(read("quality", tmp_path))]
    monkeypatch.setattr(report, "read", lambda *_: rows)
    monkeypatch.setattr(report, "ALIKE", {"kuairand": alike})
    assert f"| kuairand | {said}" in report.TABLES["quality-kuairand"](tmp_path)


def test_without_rows_the_table_says_so(tmp_path: Path) -> None:
    assert "Not measured yet." in report.rewritten(PAGE, tmp_path)


def test_rewriting_twice_changes_nothing(tmp_path: Path) -> None:
    keep(tmp_path, "kuairand", 0, 0.30)
    once = report.rewritten(PAGE, tmp_path)
    assert report.rewritten(once, tmp_path) == once


def test_an_unknown_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no table 'quality-netflix'; there are quality-kuairand, "):
        report.rewritten(PAGE.replace("kuairand", "netflix"), tmp_path)


def test_check_fails_on_a_number_without_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "README.md"
    page.write_text(PAGE.replace("old", "| kuairand | 0.9999 |"))
    monkeypatch.setattr(report, "PAGES", (page,))
    monkeypatch.setattr(report, "CHECKOUT", tmp_path)
    assert report.main(["--check"]) == 1
    assert (
        capsys.readouterr().out
        == "README.md: a table is not what benchmarks/results says; run python -m benchmarks.report\n"
    )
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0


def test_ablations_are_a_line_for_each_change_best_first(tmp_path: Path) -> None:
    how = Circumstances(command="python -m benchmarks.ablation kuairand", seed=0, seconds=70, peak_mb=900)
    for change, value in (("as it is", 0.4), ("dim 64", 0.39), ("dim 256", 0.41), ("dim 64", 0.38)):
        row = {"protocol": "kuairand", "recipe": change, "metric": "recall@100", "value": value}
        record("ablations", [row | {"low": value - 0.01, "high": value + 0.01}], how, tmp_path)
    lines = report.ablation_table("kuairand", tmp_path).splitlines()
    commit = str(surroundings()["commit"])[:7]
    assert lines[2:5] == [
        f"| dim 256 | 0.4100 ± 0.0100 | 70 | {commit} |",
        f"| as it is | 0.4000 ± 0.0100 | 70 | {commit} |",
        f"| dim 64 | 0.3800 ± 0.0100 | 70 | {commit} |",
    ]


def test_a_plain_table_shows_the_newest_row_of_each_thing(tmp_path: Path) -> None:
    how = Circumstances(command="python -m benchmarks.speed a --dims 64", seed=0, seconds=1, peak_mb=1)
    for dim, rate in ((64, 10), (128, 5), (64, 12)):
        record("speed", [{"dim": dim, "rate": rate}], how, tmp_path)
    lines = report.plain_table("speed", ("dim",), ("rate", "threads"), tmp_path).splitlines()
    assert lines[0] == "| dim | rate | threads |"
    assert [line.split(" | ")[:2] for line in lines[2:4]] == [["| 64", "12"], ["| 128", "5"]]
    assert lines[-1] == "Command: `python -m benchmarks.speed a`; all of it in `results/speed.csv`."


def test_parts_of_an_older_measurement_are_not_shown_beside_newer_ones(tmp_path: Path) -> None:
    columns = "commit,command,data,videos,encoder,index,users,part,p50_us,p99_us,share,per_second,over_raw"
    same = "python -m benchmarks.requests made,made,9,mean,exact,1"
    rows = [f"a,{same},user,1,2,.5,,", f"a,{same},whole,2,3,1,9,1.1", f"b,{same},whole,4,5,1,8,1.2"]
    (tmp_path / "requests.csv").write_text("\n".join([columns, *rows, ""]), encoding="utf-8")
    page = report.rewritten("<!-- table: requests -->\n<!-- end of table -->\n", tmp_path)
    assert "| made | 9 | mean | exact | 1 | whole | 4 | 5 | 1 | 8 | 1.2 |" in page
    assert "user | 1" not in page
