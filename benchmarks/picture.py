"""Draws quality against training seconds, ours and others', from the recorded rows.

    python -m benchmarks.picture

Ours are rows of results/quality.csv. Others', full, are those of results/peers_measured.csv, measured beside ours in
one run; hollow, those of results/peers.csv, each with its source, unless they were measured. A figure whose training
time is not known is a line across.
"""

import argparse
import hashlib
import itertools
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from PIL import Image  # matplotlib's own writer of pictures

from benchmarks.record import CHECKOUT, RESULTS, read
from benchmarks.report import latest_of

PANELS = {"kuairand": "recall@100", "ml-1m": "hit@10", "gowalla-m1": "recall@20"}
PICTURE = CHECKOUT / "benchmarks" / "quality.png"
OURS, OTHERS = "#c2410c", "#475569"


def ours(protocol: str, metric: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Return the fastest seed's seconds and the mean over the seeds of each recipe's newest rows."""
    rows = [row for row in read("quality", folder) if (row["protocol"], row["metric"]) == (protocol, metric)]
    found = {}
    for recipe in dict.fromkeys(row["recipe"] for row in rows if not row["recipe"].startswith("floor")):
        newest = latest_of(rows, recipe)
        seconds, values = ([float(row[name]) for row in newest] for name in ("seconds", "value"))
        found[recipe] = min(seconds), statistics.fmean(values)
    return found


def measured(protocol: str, metric: str, folder: Path) -> dict[str, tuple[float, float]]:
    """Return seconds and value of each contender of the last run beside ours that came to an end, by title."""
    rows = [row for row in read("peers_measured", folder) if row["protocol"] == protocol and row[metric]]
    found = {}
    for contender in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == contender]
        newest = [row for row in own if row["commit"] == own[-1]["commit"]]
        found[own[-1]["title"]] = tuple(
            statistics.fmean(float(row[name]) for row in newest) for name in ("seconds", metric)
        )
    return found  # type: ignore[return-value]  # a pair, since there are two names


def label(axes: Axes, text: str, at: tuple[float, float], color: str, size: int = 7) -> None:
    """Write beside a point."""
    axes.annotate(text, at, xytext=(6, 3), textcoords="offset points", fontsize=size, color=color)


def panel(axes: Axes, protocol: str, metric: str, folder: Path) -> None:
    """Draw one protocol."""
    across = axes.get_yaxis_transform()
    beside = measured(protocol, metric, folder)
    for title, at in beside.items():
        if title.startswith("towers"):
            axes.plot(*at, "D", color=OURS, markersize=4)
        else:
            axes.plot(*at, "o", color=OTHERS, markersize=6)
            label(axes, title, at, OTHERS)
    for peer in read("peers", folder):
        if (peer["protocol"], peer["metric"]) != (protocol, metric) or peer["name"].startswith(tuple(beside)):
            continue
        value = float(peer["value"])
        if peer["seconds"]:
            axes.plot(float(peer["seconds"]), value, "o", color=OTHERS, fillstyle="none", markersize=5)
            label(axes, peer["name"], (float(peer["seconds"]), value), OTHERS)
        else:
            axes.axhline(value, color=OTHERS, linewidth=0.6, linestyle=":")
            axes.annotate(
                peer["name"],
                (0.99, value),
                xycoords=across,
                xytext=(0, 1),
                textcoords="offset points",
                ha="right",
                va="bottom",
                fontsize=7,
                color=OTHERS,
            )
    for recipe, (seconds, value) in ours(protocol, metric, folder).items():
        axes.plot(seconds, value, "D", color=OURS, markersize=8)
        label(axes, f"towers: {recipe}", (seconds, value), OURS, size=9)
    axes.set(title=f"{protocol}, {metric}", xlabel="training, seconds", xscale="log")
    axes.set_xlim(0.02, 6000)  # with room for names on the left
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)


def part(axes: Axes) -> None:
    """Move each label to the nearest place beside its point where it lies on no other and on no point, if there is."""
    box, radius = axes.bbox, 4 * axes.get_figure(root=True).dpi / 72  # type: ignore[union-attr]  # drawn, so in one
    lines = (np.asarray(line.get_xydata()) for line in axes.lines)
    points = [axes.transData.transform(line)[0] for line in lines if len(line) == 1]
    placed = [Bbox.from_extents(x - radius, y - radius, x + radius, y + radius) for x, y in points]
    placed.append(Bbox.from_extents(box.x0 - 1000, box.y0, box.x0, box.y1))  # where the axis has its numbers
    for note in sorted(axes.texts, key=lambda note: -note.get_window_extent().y1):
        across, up = note.get_position()
        sides = {"left": across, "right": -across} if across else {note.get_horizontalalignment(): across}
        for down, (side, beside) in itertools.product(range(0, 200, 3), sides.items()):
            note.set(position=(beside, up - down), horizontalalignment=side)
            if not any(note.get_window_extent().overlaps(other) for other in placed):
                break
        else:
            note.set(position=(across, up), horizontalalignment=next(iter(sides)))
        placed.append(note.get_window_extent())


def digest(folder: Path = RESULTS) -> str:
    """Return what tells the rows that are drawn from all others."""
    told = [(ours(*panel, folder), measured(*panel, folder)) for panel in PANELS.items()]
    return hashlib.sha256(repr((told, read("peers", folder))).encode()).hexdigest()


def is_of(picture: Path, folder: Path = RESULTS) -> bool:
    """Return whether a picture is of these rows."""
    with Image.open(picture) as image:
        return image.info.get("Description") == digest(folder)


def draw(to: Path, folder: Path = RESULTS) -> None:
    """Draw all protocols side by side."""
    figure, every = plt.subplots(1, len(PANELS), figsize=(16, 5.2), layout="constrained")
    for axes, (protocol, metric) in zip(every, PANELS.items(), strict=True):
        panel(axes, protocol, metric, folder)
    figure.supxlabel(
        "full circles: measured beside ours (small diamonds) in one run; hollow circles and lines: taken over, sources "
        "in peers.csv",
        fontsize=8,
    )
    figure.canvas.draw()  # only what has been drawn has its place
    figure.set_layout_engine("none")
    for axes in every:
        part(axes)
    figure.savefig(to, dpi=110, metadata={"Description": digest(folder)})
    plt.close(figure)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    draw(PICTURE)
