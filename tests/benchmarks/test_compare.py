from pathlib import Path

import pytest

from benchmarks.compare import changes, main, rows_of
from benchmarks.record import Circumstances, record

HOW = Circumstances(command="python -m benchmarks.hotpath", seed=0, seconds=1, peak_mb=1, threads=1)


def keep(folder: Path, times: list[float], recall: float = 0.95, setting: str = "reach 2", index: str = "ivf") -> Path:
    rows = [
        {"index": index, "aim": 0.95, "setting": setting, "round": turn, "recall@100": recall, "p50_us": time}
        for turn, time in enumerate(times)
    ]
    return record("searches", rows, HOW, folder)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ([100, 110], [121, 123], "slower"),  # 122 / 105 is 1.16, and rounds are 1.10 apart
        ([100, 110], [114, 116], "as before"),  # 1.095
        ([100, 101], [105, 106], "as before"),  # above the rounds' 1.01, below the 1.05 that is never told
        ([100, 101], [80, 81], "faster"),
        ([100], [124], "as before"),  # one round tells little
        ([100], [126], "slower"),
    ],
)
def test_slower_is_what_no_round_explains(tmp_path: Path, old: list[float], new: list[float], said: str) -> None:
    before, after = keep(tmp_path / "old", old), keep(tmp_path / "new", new)
    (change,) = changes(rows_of(str(before), "searches"), rows_of(str(after), "searches"), "p50_us", 1.05)
    assert change.verdict == said


def test_it_is_told_and_the_exit_status_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = keep(tmp_path / "old", [100, 102]), keep(tmp_path / "new", [150, 151], setting="reach 3")
    keep(tmp_path / "old", [50, 51], index="exact")
    keep(tmp_path / "new", [50, 51], index="exact")
    assert main([str(before), str(after)]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("slower: 1.49 times as long (noise up to 1.05), recall +0.0000: ")
    assert "index ivf" in first
    assert last == "2 compared, 1 slower or finding less"
    assert main([str(before), str(before)]) == 0


def test_what_finds_less_is_no_gain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = keep(tmp_path / "old", [100, 102]), keep(tmp_path / "new", [50, 51], recall=0.94)
    assert main([str(before), str(after)]) == 1
    assert capsys.readouterr().out.startswith("finds less: 0.50 times as long (noise up to 1.05), recall -0.0100: ")


def test_other_settings_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = keep(tmp_path / "old", [100, 102]), keep(tmp_path / "new", [200, 202], index="exact")
    assert main([str(before), str(after)]) == 2
    assert "have no measurement of p50_us in common" in capsys.readouterr().out


def test_commits_name_the_rows_of_a_file_of_results(tmp_path: Path) -> None:
    path = keep(tmp_path, [100])
    (row,) = rows_of(str(path), "searches")
    assert rows_of(row["commit"][:7], "searches", tmp_path) == [row]
    with pytest.raises(
        ValueError, match=f"searches.csv has no rows of commit 0000000; it has those of {row['commit']}"
    ):
        rows_of("0000000", "searches", tmp_path)
