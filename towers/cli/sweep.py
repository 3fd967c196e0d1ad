"""What the jobs of a sweep came to, side by side: a table on the terminal, a CSV file and a picture in its folder."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towers.cli import show

TABLE, PICTURE = "sweep.csv", "sweep.png"
COST = "seconds"
"""The figure that is better when it is smaller."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job of a sweep.

    Attributes:
        number: Its place in the sweep.
        told: What the user told it, by option.
        figures: What it is compared by, the one to judge by first; none when it failed.
        within: The folder that its folder lies in, with those of the other jobs; None where they have none in common.
    """

    number: int
    told: dict[str, str]
    figures: dict[str, float]
    within: Path | None = None


def compare(jobs: Sequence[Job]) -> None:
    """Print a line per job, the best first, and write them as `sweep.csv`, in the order they ran, and `sweep.png`.

    Jobs that no other beats in both the first figure and the seconds are marked, and joined in the
    picture. Nothing is said when no job has a figure.
    """
    figures = list(dict.fromkeys(name for job in jobs for name in job.figures))
    if not figures:
        return
    swept = swept_options(jobs)
    best_first = sorted(jobs, key=lambda job: -job.figures.get(figures[0], float("-inf")))
    unbeaten = {job.number for job in trade_off(jobs)}
    lines = [
        [f"{job.number}{' *' * (job.number in unbeaten)}", *map(_brief, _told(job, swept)), *_shown(job, figures)]
        for job in best_first
    ]
    show.line("")
    names = short_names(swept)
    show.table(["job", *names, *figures], lines, left=names)
    if unbeaten:
        show.line(f"* no other job is both better and quicker ({figures[0]} against {COST})")
    folder = jobs[0].within
    if folder is not None:
        if lost := _finished(folder / TABLE, figures[0]) & {str(job.number) for job in jobs if not job.figures}:
            show.line(f"{folder / TABLE} stays as it was: job {min(lost, key=int)}, which failed now, had ended well")
            return
        _write(jobs, folder / TABLE, swept, figures)
        if unbeaten:
            _draw(jobs, folder / PICTURE, figures[0])
        show.line(f"sweep: {folder / TABLE}")


def _finished(path: Path, figure: str) -> set[str]:
    """Return the jobs, by number, that had a figure when a table was written; none where there is no table."""
    if not path.is_file():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {row["job"] for row in csv.DictReader(file) if row.get(figure)}


def trade_off(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs than which no other is both better in the first figure and quicker, the quickest first.

    Where jobs have no seconds there is nothing to trade.

    Example:
        >>> results = {0: (0.3, 9.0), 1: (0.2, 5.0), 2: (0.1, 7.0)}
        >>> jobs = [Job(number=n, told={}, figures={"recall": r, "seconds": s}) for n, (r, s) in results.items()]
        >>> [job.number for job in trade_off(jobs)]
        [1, 0]
    """
    best: list[Job] = []
    quickest_first = [job for job in jobs if COST in job.figures]
    for job in sorted(quickest_first, key=lambda job: (job.figures[COST], -_quality(job))):
        if not best or _quality(job) > _quality(best[-1]):
            best.append(job)
    return best


def _quality(job: Job) -> float:
    return next(iter(job.figures.values()))


def swept_options(jobs: Sequence[Job]) -> list[str]:
    """Return the options that not all jobs were told alike.

    Example:
        >>> one = Job(number=0, told={"seed": "0", "loss": "bpr"}, figures={})
        >>> two = Job(number=1, told={"seed": "1", "loss": "bpr"}, figures={})
        >>> swept_options([one, two])
        ['seed']
    """
    names = dict.fromkeys(name for job in jobs for name in job.told)
    return [name for name in names if len({job.told.get(name) for job in jobs}) > 1]


def short_names(options: Sequence[str]) -> list[str]:
    """Return the last part of each option's name, or all of it where another ends alike: a terminal is narrow.

    Example:
        >>> short_names(["model.dim", "optim.epochs", "fit.epochs"])
        ['dim', 'optim.epochs', 'fit.epochs']
    """
    last = [re.split(r"[./]", option)[-1] for option in options]
    return [name if last.count(name) == 1 else option for name, option in zip(last, options, strict=True)]


def _brief(value: str) -> str:
    """Return a number that a search has drawn with as many digits as anybody reads."""
    return f"{float(value):.3g}" if re.fullmatch(r"-?\d+\.\d{4,}(e-?\d+)?", value) else value


def _told(job: Job, swept: list[str]) -> list[str]:
    return [job.told.get(name, "") for name in swept]


def _shown(job: Job, figures: list[str]) -> list[str]:
    if not job.figures:
        return ["failed", *[""] * (len(figures) - 1)]
    return [_text(job.figures[name]) if name in job.figures else "" for name in figures]


def _text(figure: float) -> str:
    if figure.is_integer():
        return f"{figure:.0f}"
    return f"{figure:.4f}" if abs(figure) < 1 else f"{figure:.1f}"


def _draw(jobs: Sequence[Job], path: Path, quality: str) -> None:
    """Write the picture of the first figure against the seconds; those that no other beats are joined."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator

    axes = (picture := Figure(figsize=(7, 4.5), layout="constrained")).subplots()
    done = [job for job in jobs if COST in job.figures]
    axes.scatter([job.figures[COST] for job in done], [_quality(job) for job in done], color="0.6")
    best = trade_off(jobs)
    axes.plot([job.figures[COST] for job in best], [_quality(job) for job in best], "o-", color="C0")
    for job in done:
        at, color = (job.figures[COST], _quality(job)), "black" if job in best else "0.6"
        axes.annotate(str(job.number), at, (4, -10), textcoords="offset points", color=color)
    axes.set(xlabel=f"{COST} of training", ylabel=quality)
    least, most = (end(job.figures[COST] for job in done) for end in (min, max))
    if 0 < 2 * least < most:
        steps = range(1, 10) if most < 10 * least else (1, 2, 5)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.grid(visible=True, which="both", alpha=0.2)
    picture.savefig(path, dpi=120)


def _write(jobs: Sequence[Job], path: Path, swept: list[str], figures: list[str]) -> None:
    """Write the file all or nothing; a job that failed has empty figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["job", *swept, *figures])
        for job in jobs:
            writer.writerow([
                job.number,
                *_told(job, swept),
                *(f"{job.figures[name]:.6g}" if name in job.figures else "" for name in figures),
            ])
    partial.replace(path)
