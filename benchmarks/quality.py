"""Measures how good the towers are: from a raw file through prepare, train and evaluate, for several seeds.

    python -m benchmarks.quality kuairand
    python -m benchmarks.quality gowalla-m1 --data ../shared/data --referee ../shared/referee/referee.py

Rows go to benchmarks/results/quality.csv, one for each metric of each seed, and one for each metric of each floor.
`seconds` is the wall time of `towers train`, `peak_mb` the largest memory of `towers train` and `towers evaluate`.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.gowalla import gowalla_m1
from benchmarks.record import CHECKOUT, Circumstances, record, surroundings

TOWERS = str(Path(sys.executable).parent / "towers")
AGREEMENT = 1e-9
"""How far a metric may be from the referee's: rounding of sums of doubles, far below the last digit printed."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One protocol and the recipe that is measured on it.

    Attributes:
        recipe: Name of the file in conf/experiment.
        options: Writes what `towers prepare` reads, from the raw data into a folder; returns prepare's options.
    """

    recipe: str
    options: Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    seconds: float
    peak_mb: float


def kuairand(data: Path, folder: Path) -> list[str]:  # noqa: ARG001 - the log ships with the package
    """Return the options that prepare the bundled log."""
    return ["data=kuairand"]


def ml_1m(data: Path, folder: Path) -> list[str]:
    """Write the file of SASRec and BERT4Rec, whose lines are in order of time within each user."""
    pairs = np.loadtxt(data / "ml-1m" / "ml-1m.txt", dtype=np.int64)
    columns = {"user_id": pairs[:, 0], "video_id": pairs[:, 1], "position": np.arange(len(pairs))}
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return ["data=files", f"data.events={folder / 'events.parquet'}", "data.protocol=ml-1m", "cut=leave_one_out"]


TABLES = {
    "kuairand": Table(recipe="kuairand", options=kuairand),
    "gowalla-m1": Table(recipe="gowalla-m1", options=gowalla_m1),
    "ml-1m": Table(recipe="ml-1m", options=ml_1m),
}


DEFAULTS = "nothing set"
"""Stands for no recipe: training chooses by itself."""
Figures = Mapping[str, Mapping[str, float] | float]
"""Metrics by name, with an interval where one was drawn."""


def value_of(figures: Figures, name: str) -> float:
    """Return a metric without its interval, not-a-number when there is no such metric."""
    figure = figures.get(name, float("nan"))
    return figure["value"] if isinstance(figure, Mapping) else figure


def disagreements(ours: Figures, referee: Mapping[str, float]) -> list[str]:
    """Return a line for each metric of the referee that we do not have, or have otherwise."""
    found = []
    for name, value in referee.items():
        own = value_of(ours, name)
        if "@" in name and "±" not in name and ":" not in name and not abs(own - value) <= AGREEMENT:
            found.append(f"{name}: {own} here, {value} at the referee")
    return found


def measure(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Prepare unless that was done, train and evaluate with one seed, record the rows; return report.json.

    Raises:
        SystemExit: A command failed, the referee disagrees, or the run lies there finished: what it was trained
            with may be long gone.
    """
    table = TABLES[name]
    recipe = arguments.recipe or table.recipe
    work = work_folder(Path(arguments.work), name)
    called = recipe.replace(" ", "-")
    dataset, run, report = work / "dataset", work / f"run-{called}-{seed}", work / f"report-{called}-{seed}"
    if run.exists():
        raise SystemExit(f"{run} is there, so not all would be measured; remove it, or choose another --work")
    if not dataset.exists():
        work.mkdir(parents=True, exist_ok=True)
        spend([TOWERS, "prepare", *table.options(Path(arguments.data), work), f"dataset={dataset}"])
    chosen = [] if recipe == DEFAULTS else [f"experiment={recipe}"]
    trained = spend([TOWERS, "train", *chosen, f"dataset={dataset}", f"run={run}", f"seed={seed}"])
    lists = work / f"lists-{called}-{seed}.parquet"
    judged = spend([TOWERS, "evaluate", f"run={run}", f"report={report}", f"lists={lists}"])
    content: dict[str, Any] = json.loads((report / "report.json").read_text(encoding="utf-8"))
    if arguments.referee:
        command = [sys.executable, arguments.referee, "score", name, str(lists)]
        answer = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        if found := disagreements(content["metrics"], answer):
            raise SystemExit("\n".join([f"{name}, seed {seed}: not what the referee says; nothing recorded", *found]))
    how = Circumstances(
        command=" ".join([
            f"python -m benchmarks.quality {name}",
            *([f"--recipe {shlex.quote(recipe)}"] if arguments.recipe else []),
            *(["--referee referee.py"] if arguments.referee else []),
        ]),
        seed=seed,
        seconds=trained.seconds,
        peak_mb=max(trained.peak_mb, judged.peak_mb),
    )
    rows = quality_rows(name, recipe, content["metrics"])
    if seed == arguments.seeds[0]:
        for floor, metrics in content["floors"].items():
            rows += quality_rows(name, f"floor: {floor}", metrics)
    record("quality", rows, how)
    return content


def work_folder(parent: Path, name: str) -> Path:
    """Return where this state of the code keeps its datasets and runs, so that none is taken for another's."""
    checkout = surroundings()
    return parent / f"{name}-{checkout['commit']}{'-dirty' if checkout['dirty'] == 'yes' else ''}"


def quality_rows(protocol: str, recipe: str, figures: Figures) -> list[dict[str, object]]:
    """Return one row for each metric at a cut-off, and for that of new videos among themselves."""
    rows: list[dict[str, object]] = []
    for name in figures:
        figure = figures[name]
        ends = figure if isinstance(figure, Mapping) else {}
        row: dict[str, object] = {"protocol": protocol, "recipe": recipe, "metric": name}
        row["value"] = f"{value_of(figures, name):.6f}"
        row |= {end: f"{ends[end]:.6f}" if end in ends else "" for end in ("low", "high")}
        if "@" in name or name == "cold videos: auc":
            rows.append(row)
    return rows


def spend(command: list[str]) -> Cost:
    """Run a command and return what it took.

    Linux counts into a command's largest memory that of the process which started it; this one stays
    small, far below what training needs.

    Raises:
        SystemExit: It failed.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=CHECKOUT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}; nothing recorded")
    return Cost(time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6)


def main(words: list[str]) -> None:
    """Measure one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data", default="../shared/data", help="folder of the raw data sets; kuairand needs none")
    parser.add_argument("--referee", help="referee.py; when given, our numbers must be its numbers")
    parser.add_argument("--recipe", help=f"another experiment of conf/experiment than the table's own, or {DEFAULTS!r}")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", default="runs/quality", help="folder for datasets and runs")
    arguments = parser.parse_args(words)
    if arguments.referee and not Path(arguments.referee).is_file():
        parser.error(f"there is no {arguments.referee}; --referee takes the path of referee.py")
    for seed in arguments.seeds:
        metrics = measure(arguments.table, seed, arguments)["metrics"]
        print(f"{arguments.table} seed {seed}: " + ", ".join(f"{m} {value_of(metrics, m):.4f}" for m in metrics))


if __name__ == "__main__":
    main(sys.argv[1:])
