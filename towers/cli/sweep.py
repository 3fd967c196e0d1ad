"""What the jobs of a sweep came to, side by side: a table on the terminal and a CSV file in the sweep's folder."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from towers.cli import show

TABLE = "sweep.csv"


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
    """Print a line per job, the best first, and write them as `sweep.csv`, in the order they ran.

    Nothing is said when no job has a figure.
    """
    figures = list(dict.fromkeys(name for job in jobs for name in job.figures))
    if not figures:
        return
    swept = swept_options(jobs)
    best_first = sorted(jobs, key=lambda job: -job.figures.get(figures[0], float("-inf")))
    lines = [[str(job.number), *_told(job, swept), *_shown(job, figures)] for job in best_first]
    show.line("")
    show.table(["job", *swept, *figures], lines, left=swept)
    folder = jobs[0].within
    if folder is not None:
        _write(jobs, folder / TABLE, swept, figures)
        show.line(f"sweep: {folder / TABLE}")


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


def _told(job: Job, swept: list[str]) -> list[str]:
    return [job.told.get(name, "") for name in swept]


def _shown(job: Job, figures: list[str]) -> list[str]:
    if not job.figures:
        return ["failed", *[""] * (len(figures) - 1)]
    return [_text(job.figures[name]) for name in figures]


def _text(figure: float) -> str:
    if figure.is_integer():
        return f"{figure:.0f}"
    return f"{figure:.4f}" if abs(figure) < 1 else f"{figure:.1f}"


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
                *(f"{job.figures[name]:.6g}" if job.figures else "" for name in figures),
            ])
    partial.replace(path)
