import math
from pathlib import Path

import pytest

from benchmarks.curves import at_recall, draw_all, ratio_table, search_table
from benchmarks.record import Circumstances, record

CURVES = {"ivf": (10.0, 20.0), "hnswlib": (20.0, 80.0), "scann": (9.0, 10.0)}


def keep(folder: Path, run: str, slower: float = 1.0, only: tuple[str, ...] = tuple(CURVES)) -> None:
    about = {"run": run, "vectors": "like kuairand", "videos": 1000, "dim": 64}
    for turn in range(2):
        for index, costs in ((index, CURVES[index]) for index in only):
            for aim, cost in zip((0.95, 0.98), costs, strict=True):
                times = cost * (slower if index != "ivf" else 1) * (1 + turn * (index == "hnswlib"))
                row = about | {"index": index, "batch": 1, "round": turn, "aim": aim, "setting": f"at {aim}"}
                row |= {"recall@100": aim, "p50_us": times, "p99_us": 2 * times, "qps": 1e6 / times}
                how = Circumstances(command="python -m benchmarks.hotpath", seed=0, seconds=1, peak_mb=1, threads=1)
                record("searches", [row | {"build_s": 1, "bytes_a_video": 300}], how, folder)


def test_a_recall_between_two_settings_lies_between_their_costs_in_logarithms() -> None:
    points = [(0.9, 10.0), (0.99, 40.0)]
    assert at_recall(points, 0.8) == 10.0
    assert at_recall(points, 1 - 0.1**1.5) == pytest.approx(20.0)
    assert math.isnan(at_recall(points, 0.995))


def test_a_setting_that_finds_more_for_less_counts_for_less_recall_too() -> None:
    assert at_recall([(0.9, 30.0), (0.97, 50.0), (0.99, 10.0)], 0.95) == 10.0


def test_ratios_are_of_the_newest_run_with_the_ends_of_its_rounds(tmp_path: Path) -> None:
    keep(tmp_path, "2026-01-01", slower=5.0)
    keep(tmp_path, "2026-01-02")
    lines = ratio_table(tmp_path).splitlines()
    assert "| like kuairand | 1,000 | 64 | 1 × 1 | hnswlib | 3.00 (2.00–4.00) | 6.00 (4.00–8.00) | – |" in lines
    assert "| like kuairand | 1,000 | 64 | 1 × 1 | scann | 0.90 (0.90–0.90) | 0.50 (0.50–0.50) | – |" in lines
    assert not any("| ivf |" in line for line in lines)


def test_trying_one_again_replaces_no_comparison(tmp_path: Path) -> None:
    keep(tmp_path, "2026-01-01")
    before = ratio_table(tmp_path)
    keep(tmp_path, "2026-01-02", slower=5.0, only=("ivf", "hnswlib"))
    assert ratio_table(tmp_path) == before


def test_the_table_of_searches_has_the_recall_beside_every_time(tmp_path: Path) -> None:
    keep(tmp_path, "2026-01-01")
    assert (
        "| like kuairand | 1,000 | 64 | 1 × 1 | hnswlib | at 0.98 | 0.98 | 120 | 240 | 9,375 | 300 | 1 |"
        in search_table(tmp_path).splitlines()
    )


def test_a_picture_for_each_size(tmp_path: Path) -> None:
    keep(tmp_path, "2026-01-01")
    (file,) = draw_all(tmp_path, tmp_path)
    assert file.name == "searches-like-kuairand-1000-64.png"
    assert file.stat().st_size > 5000
