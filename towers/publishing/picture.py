"""The trade-off of an index as a picture: what share of the true best is found, against the time of a search."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from towers.index import Point, Wish

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = "index.png"
_COLOURS = {"exact": "#33393f", "ivf": "#0b6e99", "ivf_pq": "#d08c4f", "ivf_rabitq": "#8c6bb1"}
_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1.0)
_ALL = 0.0003
_APART = 12
"""Pixels between two points that are both named."""
_INK, _GRID, _ASKED = "#33393f", "#e6e2dc", "#b0392f"


def draw_curve(points: Sequence[Point], wish: Wish, path: Path) -> None:
    """Write a picture of points: recall against the p50, thin lines on to the p99; the chosen one is marked.

    Args:
        points: What was measured.
        wish: What was asked for: drawn as lines.
        path: A PNG file.
    """
    from matplotlib.figure import Figure

    picture = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = picture.subplots()
    for kind in dict.fromkeys(point.kind for point in points):
        _draw_kind(axes, [point for point in points if point.kind == kind])
    chosen = next(point for point in points if point.chosen)
    axes.plot(chosen.p50_us, chosen.recall, "o", ms=15, mfc="none", mec=_ASKED, mew=1.6, zorder=4)
    _draw_wish(axes, wish)
    _dress(axes, points, wish)
    verdict = (
        "is the best that holds what was asked" if chosen.holds else "is the nearest; nothing holds what was asked"
    )
    axes.set_title(f"{chosen.name} (ringed) {verdict}", fontsize=10, loc="left", color=_INK)
    picture.draw_without_rendering()  # which settles where all is
    _name(axes, points)
    picture.savefig(path, dpi=150)


def _height(recall: Float64[np.ndarray, "*s"]) -> Float64[np.ndarray, "*s"]:
    return -np.log10(np.maximum(1 + _ALL - recall, _ALL / 10))


def _draw_kind(axes: "Axes", points: Sequence[Point]) -> None:
    """Draw the points of a kind; those that do not hold what was asked are hollow."""
    colour = _COLOURS.get(points[0].kind, _INK)
    which = f" ({', '.join(points[0].options)})" if points[0].options else ""
    told = f"{points[0].kind}{which}: {points[0].memory_mb:.3g} MB, built in {points[0].build_s:.2g} s"
    axes.plot(
        [point.p50_us for point in points],
        [point.recall for point in points],
        color=colour,
        linewidth=1.8,
        label=told,
        zorder=2,
    )
    for point in points:
        axes.plot([point.p50_us, point.p99_us], [point.recall] * 2, color=colour, linewidth=0.8, alpha=0.5, zorder=1)
        axes.plot(point.p99_us, point.recall, "|", color=colour, alpha=0.5, ms=7, zorder=1)
        fill = colour if point.holds else "white"
        axes.plot(point.p50_us, point.recall, "o", ms=6.5, mfc=fill, mec=colour, mew=1.4, zorder=3)


def _name(axes: "Axes", points: Sequence[Point]) -> None:
    """Write the options of each point beside it, but where another one's name is."""
    named: list[Float64[np.ndarray, " 2"]] = []
    for point in sorted(points, key=lambda point: not point.chosen):
        place = axes.transData.transform((point.p50_us, point.recall))
        if all(np.abs(place - other).max() > _APART for other in named):
            named.append(place)
            words = ", ".join(f"{value:g}" for value in point.options.values())
            axes.annotate(words, (point.p50_us, point.recall), (-10, -3), textcoords="offset points", ha="right",
                          fontsize=7.5, color=_COLOURS.get(point.kind, _INK))  # fmt: skip


def _draw_wish(axes: "Axes", wish: Wish) -> None:
    line = partial(axes.plot, color=_ASKED, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    across, up = axes.get_yaxis_transform(), axes.get_xaxis_transform()
    line([0, 1], [wish.recall] * 2, transform=across, label=f"asked: recall {wish.recall:g} or more")
    if wish.p99_ms is not None:
        line([1000 * wish.p99_ms] * 2, [0, 1], transform=up, label=f"asked: p99 {wish.p99_ms:g} ms or less")
    if wish.memory_mb is not None:
        axes.plot([], [], " ", label=f"asked: memory {wish.memory_mb:g} MB or less")


def _dress(axes: "Axes", points: Sequence[Point], wish: Wish) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    ends = [point.p50_us for point in points] + [point.p99_us for point in points]
    ends += [] if wish.p99_ms is None else [1000 * wish.p99_ms]
    lowest = min(wish.recall, *(point.recall for point in points))
    axes.set(xscale="log", xlabel="µs of a search for one user: p50 as dots (hollow: does not hold), p99 as bars",
             ylabel="recall@100", xlim=(min(ends) / 1.6, max(ends) * 1.3))  # fmt: skip
    # What is lost on a log scale, as .99 and .999 are as far apart as .9 and .99; all of it found is in sight.
    axes.set_yscale("function", functions=(_height, lambda height: 1 + _ALL - 10**-height))
    axes.set_yticks([tick for tick in _TICKS if tick > lowest or tick == 1], minor=False)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylim(max(0, 1 - 1.3 * (1 - lowest) - 10 * _ALL), 1 + _ALL / 3)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_INK)
    axes.tick_params(colors=_INK, labelsize=8.5)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8.5, loc="best")
