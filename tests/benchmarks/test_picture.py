"""The picture of quality against seconds."""

import itertools
import shutil
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.picture import PICTURE, draw, is_of, label, part
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


def test_names_lie_on_no_other_and_on_no_point() -> None:
    figure, axes = plt.subplots()
    for number in range(6):
        at = (0.5 + number / 100, 0.5)
        axes.plot(*at, "o")
        label(axes, f"name {number}", at, "black")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.canvas.draw()
    boxes = [note.get_window_extent() for note in axes.texts]
    assert any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    part(axes)
    boxes = [note.get_window_extent() for note in axes.texts]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    points = [axes.transData.transform(line.get_xydata())[0] for line in axes.lines]
    assert not any(box.contains(*point) for box in boxes for point in points)
    plt.close(figure)
