"""The picture of quality against seconds."""

import shutil
from pathlib import Path

from benchmarks.picture import PICTURE, draw, is_of
from benchmarks.record import RESULTS


def test_the_picture_is_of_the_rows() -> None:
    assert is_of(PICTURE), "draw it anew: python -m benchmarks.picture"


def test_a_picture_of_other_rows_is_told(tmp_path: Path) -> None:
    for name in ("quality", "peers", "peers_measured"):
        shutil.copy(RESULTS / f"{name}.csv", tmp_path)
    draw(tmp_path / "quality.png", tmp_path)
    assert is_of(tmp_path / "quality.png", tmp_path)
    with (tmp_path / "peers.csv").open("a") as file:
        file.write((tmp_path / "peers.csv").read_text().splitlines()[-1] + "\n")
    assert not is_of(tmp_path / "quality.png", tmp_path)
