"""Recall against speed of the searches that benchmarks.hotpath recorded: tables of ratios, and pictures."""

import math
import statistics
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.record import CHECKOUT, RESULTS, read

OWN = ("ivf", "exact")
"""Ours, which others are set beside; ivf_unasked, ours too, is one of these others."""
RECALLS = (0.95, 0.98, 0.99)
SHOWN_AIM = 0.98
COLORS = {
    "ivf": "#c2410c",
    "exact": "#f59e0b",
    "ivf_unasked": "#fda47c",
    "hnswlib": "#1d4ed8",
    "usearch": "#0891b2",
    "voyager": "#60a5fa",
    "scann": "#15803d",
    "faiss": "#7c3aed",
    "svs": "#475569",
}
Rows = list[dict[str, str]]
Curve = list[tuple[float, float]]


def runs(folder: Path) -> dict[tuple[str, int, int], Rows]:
    """Return the rows of a run for each kind of vectors, number of videos and of dimensions, in this order.

    The newest of those of the most libraries: trying some of them again replaces no comparison.
    """
    found: dict[tuple[str, int, int], dict[str, Rows]] = {}
    for row in read("searches", folder):
        key = row["vectors"], int(row["videos"]), int(row["dim"])
        found.setdefault(key, {}).setdefault(row["run"], []).append(row)
    return {key: max(reversed(list(of.values())), key=_libraries) for key, of in sorted(found.items())}


def _libraries(rows: Rows) -> int:
    return len({row["index"] for row in rows})


def modes(rows: Rows) -> list[tuple[str, str]]:
    """Return the ways of asking that rows are of: batch and threads."""
    return list(dict.fromkeys((row["batch"], row["threads"]) for row in rows))


def curve(rows: Rows, index: str, mode: tuple[str, str], turn: str) -> Curve:
    """Return recall and cost of each setting of a library in one turn, recall rising.

    The cost of one user who asks one thread is the median, µs; otherwise that of a user at the rate reached.
    """
    own = [row for row in rows if (row["index"], row["round"], row["batch"], row["threads"]) == (index, turn, *mode)]
    alone = mode == ("1", "1")
    return sorted((float(row["recall@100"]), float(row["p50_us"]) if alone else 1e6 / float(row["qps"])) for row in own)


def at_recall(points: Curve, recall: float) -> float:
    """Return what a recall costs on a curve; not a number where the curve does not reach it.

    Between two settings the logarithm of the cost is linear in that of what is not found. What finds more for less
    counts for less recall too.

    Example:
        >>> at_recall([(0.9, 10.0), (0.99, 40.0)], 0.99), round(at_recall([(0.9, 10.0), (0.99, 40.0)], 0.9684), 1)
        (40.0, 20.0)
    """
    above = [point for point in points if point[0] >= recall]
    if not above:
        return math.nan
    found = min(cost for _, cost in above)
    high = min(above)
    low = max((point for point in points if point[0] < recall), default=high)
    if low[0] < recall < high[0]:
        left, right, here = (math.log(max(1 - each, 1e-4)) for each in (low[0], high[0], recall))
        share = (left - here) / (left - right)
        found = min(found, low[1] ** (1 - share) * high[1] ** share)
    return found


def ratios(rows: Rows, index: str, mode: tuple[str, str], recall: float) -> list[float]:
    """Return, turn by turn, how many times the cost of the better of our kinds is what a library takes.

    A run that was stopped has not given every library its last turn; that turn is left out.
    """
    measured = {
        name: {row["round"] for row in rows if (row["index"], row["batch"], row["threads"]) == (name, *mode)}
        for name in (*OWN, index)
    }
    turns = [
        turn
        for turn in dict.fromkeys(row["round"] for row in rows)
        if turn in measured[index] and any(turn in measured[each] for each in OWN)
    ]
    found = []
    for turn in turns:
        own = [at_recall(curve(rows, each, mode, turn), recall) for each in OWN]
        ours = min((cost for cost in own if not math.isnan(cost)), default=math.nan)
        found.append(at_recall(curve(rows, index, mode, turn), recall) / ours)
    return found


def ratio_table(folder: Path) -> str:
    """Write how many times faster ours is than each library, of the newest runs: the mean of the rounds, and its ends.

    Below 1 the other one is faster.
    """
    lines = [
        f"| vectors | videos | dim | batch × threads | than | {' | '.join(f'recall ≥ {each}' for each in RECALLS)} |",
        f"|---|--:|--:|--:|---|{'--:|' * len(RECALLS)}",
    ]
    for (vectors, videos, dim), rows in runs(folder).items():
        for mode in modes(rows):
            for index in dict.fromkeys(row["index"] for row in rows if row["index"] not in OWN):
                cells = [_cell(ratios(rows, index, mode, recall)) for recall in RECALLS]
                about = f"{vectors} | {videos:,} | {dim} | {' × '.join(mode)}"
                lines.append(f"| {about} | {index} | {' | '.join(cells)} |")
    if len(lines) == 2:
        return "Not measured yet.\n"
    return "\n".join([*lines, "", f"{_from(folder)}", ""])


def _cell(values: list[float]) -> str:
    if not values or any(math.isnan(value) for value in values):
        return "–"
    return f"{statistics.fmean(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def _from(folder: Path) -> str:
    rows = [row for each in runs(folder).values() for row in each]
    machines = "; ".join(dict.fromkeys(f"{row['machine']}, {row['cores']} cores" for row in rows))
    commits = ", ".join(dict.fromkeys(row["commit"] for row in rows))
    return f"Machine: {machines}. Commit: {commits}. All of it in `results/searches.csv`."


def search_table(folder: Path) -> str:
    """Write what searches of the newest runs take where they aim at SHOWN_AIM, the median of the rounds."""
    named = ("recall@100", "p50_us", "p99_us", "qps", "bytes_a_video", "build_s")
    lines = [
        f"| vectors | videos | dim | batch × threads | index | setting | {' | '.join(named)} |",
        f"|---|--:|--:|--:|---|---|{'--:|' * len(named)}",
    ]
    for (vectors, videos, dim), rows in runs(folder).items():
        shown = [row for row in rows if float(row["aim"]) in {SHOWN_AIM, 1.0}]
        for mode in modes(shown):
            for index in dict.fromkeys(row["index"] for row in shown):
                own = [row for row in shown if (row["index"], row["batch"], row["threads"]) == (index, *mode)]
                values = (statistics.median(float(row[name]) for row in own) for name in named)
                about = f"{vectors} | {videos:,} | {dim} | {' × '.join(mode)} | {index} | {own[0]['setting']}"
                lines.append(f"| {about} | {' | '.join(f'{value:,.4g}' for value in values)} |")
    return "\n".join([*lines, "", _from(folder), ""]) if len(lines) > 2 else "Not measured yet.\n"


def panel(axes: Axes, rows: Rows, mode: tuple[str, str]) -> None:
    """Draw the curves of one way of asking: the mean of the rounds, and a bar from the worst to the best."""
    turns = list(dict.fromkeys(row["round"] for row in rows))
    for index in dict.fromkeys(row["index"] for row in rows):
        # A run that was stopped has not given every library its last turn.
        every = [each for each in (curve(rows, index, mode, turn) for turn in turns) if each]
        recalls = [statistics.fmean(point[0] for point in same) for same in zip(*every, strict=True)]
        rates = [[1e6 / point[1] for point in same] for same in zip(*every, strict=True)]
        middle = [statistics.fmean(rate) for rate in rates]
        ends = [[at - min(rate), max(rate) - at] for at, rate in zip(middle, rates, strict=True)]
        label, mark = (f"towers {index}", "D") if index in {*OWN, "ivf_unasked"} else (index, "o")
        axes.errorbar(recalls, middle, list(zip(*ends, strict=True)), color=COLORS.get(index), label=label, marker=mark)
    axes.set(xlabel="recall@100", yscale="log", title=f"batch {mode[0]}, {mode[1]} thread{'s' * (mode[1] != '1')}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, linewidth=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def picture_of(key: tuple[str, int, int]) -> str:
    """Return the name of a run's picture."""
    vectors, videos, dim = key
    return f"searches-{vectors.replace(' ', '-')}-{videos}-{dim}.png"


def pictures(folder: Path) -> str:
    """Write a link to the picture of each newest run."""
    links = [f"![{' '.join(str(each) for each in key)}]({picture_of(key)})\n" for key in runs(folder)]
    return "\n".join(links) or "Not measured yet.\n"


def draw_all(folder: Path = RESULTS, to: Path = CHECKOUT / "benchmarks") -> list[Path]:
    """Draw a picture of each newest run; return the files."""
    files = []
    for (vectors, videos, dim), rows in runs(folder).items():
        every = modes(rows)
        figure, axes = plt.subplots(
            1, len(every), figsize=(4.2 * len(every) + 1.3, 4), layout="constrained", squeeze=False, sharey=True
        )
        for place, mode in enumerate(every):
            panel(axes[0, place], rows, mode)
        axes[0, 0].set_ylabel("users a second")
        figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
        figure.suptitle(f"{videos:,} videos, vectors {vectors}, d {dim}")
        files.append(to / picture_of((vectors, videos, dim)))
        figure.savefig(files[-1], dpi=110)
        plt.close(figure)
    return files


if __name__ == "__main__":
    draw_all()
