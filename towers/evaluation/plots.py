"""Pictures of the report, as SVG text to be set into a page; matplotlib without a display."""

import io
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from towers.evaluation.slices import Slice

OURS, THEIRS = "#0b6e99", "#b0a392"
OTHERS = ("#d08c4f", "#8c6bb1", "#6a9a58", "#c0607a", "#7a7a7a")
CURVES = ("loss", "recall@100", "ndcg@10")
INK, GRID = "#33393f", "#e6e2dc"


def recall_curves(curves: dict[str, list[float]], ours: str) -> str:
    """Draw recall over the length of the list, one line per model."""
    canvas, axes = _canvas(6.2, 3.8)
    others = sorted((name for name in curves if name != ours), key=lambda name: -curves[name][-1])
    for name, colour in zip([ours, *others], [OURS, *OTHERS], strict=False):
        ks = np.arange(1, len(curves[name]) + 1)
        axes.plot(ks, curves[name], color=colour, linewidth=2.6 if name == ours else 1.5, label=name)
    axes.set(xlabel="videos shown (k)", ylabel="share of what was then watched", xlim=(1, None), ylim=(0, None))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return _svg(canvas)


def slice_bars(lines: Sequence[Slice], floor: str) -> str:
    """Draw the slices of one group as pairs of bars with intervals."""
    canvas, axes = _canvas(6.2, 0.62 + 0.46 * len(lines))
    place = np.arange(len(lines))
    pairs: list[tuple[list[dict[str, float]], float, str, str]] = [
        ([line["recall@100"] for line in lines], -0.19, OURS, "towers"),
        ([line["floor"] for line in lines], 0.19, THEIRS, floor),
    ]
    for figures, shift, colour, label in pairs:
        values = np.array([figure["value"] for figure in figures])
        spread = np.array([[f["value"] - f["low"] for f in figures], [f["high"] - f["value"] for f in figures]])
        axes.barh(place + shift, values, 0.36, color=colour, label=label)
        axes.errorbar(values, place + shift, xerr=spread, fmt="none", ecolor=INK, elinewidth=0.9, capsize=2)
    axes.set_yticks(place, [f"{line['name']}\n{line['users']:,} users" for line in lines], fontsize=8.5)
    axes.invert_yaxis()
    axes.set(xlabel="recall@100", xlim=(0, None))
    axes.grid(visible=False, axis="y")
    return _svg(canvas)


def popularity_scatter(
    popularity: Int64[np.ndarray, " n"], shown: dict[str, Int64[np.ndarray, " n"]], asked: int
) -> str:
    """Draw how often each video was watched before against the share of users it is shown to, one panel per model."""
    canvas = Canvas(figsize=(6.2, 3.4), layout="constrained")
    panels = canvas.subplots(1, len(shown), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (name, counts), colour in zip(panels, shown.items(), (OURS, "#8a7d6b"), strict=False):
        _dress(axes)
        some = counts > 0
        # Dots as one picture: as vectors, a catalogue of them would outweigh the page.
        axes.scatter(
            popularity[some] + 1, counts[some] / asked, s=6, alpha=0.35, color=colour, linewidths=0, rasterized=True
        )
        axes.set(xscale="log", yscale="log", xlabel="times watched before (+1)")
        axes.set_title(
            f"{name}\nshows {int(some.sum()):,} of {len(counts):,} videos", fontsize=9, loc="left", color=INK
        )
    panels[0].set_ylabel("share of users it is shown to")
    return _svg(canvas)


def training_lines(epochs: Sequence[dict[str, float]], best: int | None) -> str:
    """Draw the loss and the valid figures over epochs."""
    names = [name for name in CURVES if any(name in epoch for epoch in epochs)]
    canvas = Canvas(figsize=(6.2, 2.2), layout="constrained")
    for axes, name in zip(np.ravel(canvas.subplots(1, len(names), squeeze=False)), names, strict=True):
        _dress(axes)
        points = [(epoch.get("epoch", place), epoch[name]) for place, epoch in enumerate(epochs) if name in epoch]
        axes.plot(*zip(*points, strict=True), color=OURS, linewidth=1.8, marker="." if len(points) < 40 else None)
        if best is not None:
            axes.axvline(best, color=INK, linewidth=0.8, linestyle=":")
        axes.set_title(name if name == "loss" else f"{name} on valid", fontsize=9, loc="left", color=INK)
        axes.set_xlabel("epoch", fontsize=8.5)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    return _svg(canvas)


def calibration(groups: dict[str, list[tuple[float, float, float]]], ours: str) -> str:
    """Draw how often exposures came true, by how likely they were said to; the dotted line is what was promised."""
    canvas, axes = _canvas(5.0, 3.9)
    top = 1.08 * max(max(said, was) for group in groups.values() for said, was, _ in group)
    axes.plot([0, top], [0, top], color=INK, linewidth=0.9, linestyle=":")
    for name, colour in zip(sorted(groups, key=lambda name: name == ours), [THEIRS, OURS], strict=False):
        said, was, count = np.array(groups[name]).T
        spread = 1.96 * np.sqrt(was * (1 - was) / count)
        colour = OURS if name == ours else colour
        axes.errorbar(said, was, yerr=spread, color=colour, linewidth=2.2 if name == ours else 1.4, elinewidth=0.9,
                      marker="o", markersize=4.5 if name == ours else 3, label=name)  # fmt: skip
    axes.set(xlabel="said to be liked with probability", ylabel="share that was", xlim=(0, top), ylim=(0, top))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return _svg(canvas)


def drawable(epochs: Sequence[dict[str, float]]) -> bool:
    """Return whether the epochs hold anything that `training_lines` can draw."""
    return any(name in epoch for epoch in epochs for name in CURVES)


def _canvas(width: float, height: float) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(width, height), layout="constrained")
    axes = canvas.subplots()
    _dress(axes)
    return canvas, axes


def _dress(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(INK)
    axes.tick_params(colors=INK, labelsize=8.5)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _svg(canvas: Canvas) -> str:
    """Return the picture as an SVG element that scales with its column."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "towers"}):
        canvas.savefig(text, format="svg", dpi=160, transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', svg, count=1)
