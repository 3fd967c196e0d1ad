"""What each verb prints when it is done."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from towers.cli.demo import DemoConfig, Demonstration
    from towers.cli.recommend import RecommendConfig, Shelf
    from towers.data import Dataset, PrepareConfig
    from towers.evaluation import EvaluateConfig, Report
    from towers.models import Run
    from towers.publishing import Bundle, PublishConfig
    from towers.serving.http.keys import KeyConfig
    from towers.serving.http.server import ServeConfig
    from towers.training import TrainConfig

PLAIN_WIDTH = 140
MADE = {
    "dataset": "what the towers learned from",
    "report/report.html": "how good they are, to look at",
    "bundle": "what serves: Retriever.open(…)",
}
"""What the demo leaves in its folder, beside the run."""


def console() -> Console:
    """Return where results go: the terminal, or plain text of a fixed width where there is none.

    Of several processes that train together only the first speaks.
    """
    if os.environ.get("RANK", "0") != "0":
        return Console(quiet=True)
    if sys.stdout.isatty():
        return Console()
    return Console(width=PLAIN_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[str] = ()) -> None:
    """Print a table; the first column and those named in left are texts, the others numbers.

    Args:
        header: The columns' names.
        rows: Cells as text.
        left: Columns to align to the left.
    """
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, name in enumerate(header):
        drawn.add_column(escape(name), justify="left" if place == 0 or name in left else "right", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape(cell) for cell in row))
    console().print(drawn)


def line(text: str) -> None:
    """Print one line."""
    console().print(escape(text), highlight=False, soft_wrap=True)


def prepared(config: "PrepareConfig", dataset: "Dataset") -> None:
    """Print how many rows came in, what was dropped, and what is there now."""
    told: dict[str, Any] = dataset.manifest
    splits = [(split, told["events"]["splits"][split]) for split in ("train", "valid", "test")]
    table(["split", "events", "positives"], [[s, f"{n['events']:,}", f"{n['positives']:,}"] for s, n in splits])
    for kind in ("users", "videos"):
        line(f"{told[kind]['count']:,} {kind}, {told[kind]['known']:,} of them known before the cut")
    line(f"dataset: {config.dataset}")


def trained(config: "TrainConfig", run: "Run") -> None:
    """Print which epoch was kept, how good it was on valid, and what it took."""
    info: dict[str, Any] = run.info
    what = f"best epoch {info['best_epoch']}" if info["best_epoch"] else "nothing trained"
    line(f"{what}, on valid: {_figures(info['valid'])}")
    cost = info["cost"]
    pace = f"{info['positions_per_second']:,.0f} positions/s, " if info["best_epoch"] else ""
    line(f"{pace}{cost['seconds']:.0f} s, {cost['peak_mb']:.0f} MB at most")
    line(f"run: {config.run}")


def figures_of_run(run: "Run") -> dict[str, float]:
    """Return what runs of one sweep are compared by."""
    info: dict[str, Any] = run.info
    names = dict.fromkeys([str(info["config"]["optim"]["steer"]), "recall@100", "ndcg@10"])
    valid = {f"valid {name}": float(info["valid"][name]) for name in names}
    # How much popularity counts is settled on valid after training: two jobs that differ there are not alike.
    strength = {} if info.get("popularity_strength") is None else {"popularity": float(info["popularity_strength"])}
    costs = {"best epoch": float(info["best_epoch"]), "seconds": float(info["cost"]["training_seconds"])}
    return valid | strength | costs


def evaluated(config: "EvaluateConfig", report: "Report") -> None:
    """Print the towers beside the floors, and the verdict."""
    from towers.evaluation import folder_of

    table(*report.rows())
    line(report.verdict)
    header, lines = report.engagement_rows()
    if lines:
        line("")
        table(header, lines)
    line(f"report: {folder_of(config) / 'report.html'}")
    if config.lists:
        line(f"lists: {config.lists}")


def published(config: "PublishConfig", bundle: "Bundle") -> None:
    """Print what was measured to choose the index, where that was left to it, and which version is pointed to now."""
    index: dict[str, Any] = bundle.manifest["index"]
    if index["curve"]:
        table(*_curve(index["curve"]))
        line(index["why"])
        folder = Path(config.bundle)  # as it was given
        line(f"index: {folder / bundle.folder.relative_to(folder.absolute()) / 'index.png'}")
    line(f"bundle: {config.bundle}, version {bundle.version}, {len(bundle.videos) - 2:,} videos")


def _curve(points: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return a header and a line for each point; the chosen one has a star."""
    lines = []
    for point in points:
        options = " ".join(f"{name}={value:g}" for name, value in point["options"].items())
        times = [f"{point[name]:.0f}" for name in ("p50_us", "p99_us")]
        costs = [f"{point['memory_mb']:.3g}", f"{point['build_s']:.2g}", "yes" if point["holds"] else "no"]
        name = f"{point['kind']} {options}".strip() + " *" * point["chosen"]
        lines.append([name, f"{point['recall@100']:.4f}", *times, *costs])
    return ["index", "recall@100", "p50 µs", "p99 µs", "MB", "build s", "holds"], lines


def recommended(_: "RecommendConfig", shelf: "Shelf") -> None:
    """Print the candidates as a table."""
    line(f"user {shelf.user}: {shelf.notes[0]}")
    if shelf.rows:
        table(shelf.header, shelf.rows, left=[name for name in shelf.header if name != "score"])
    for note in shelf.notes[1:]:
        line(note)


def demonstrated(_: "DemoConfig", result: "Demonstration") -> None:
    """Print once more how good it is, then where everything lies."""
    from towers.evaluation import Report

    report = Report.read(result.folder / "report")
    line("")
    table(*report.rows())
    line(report.verdict)
    line("")
    for name, what in MADE.items():
        line(f"{result.folder / name}  {what}")
    line(f"{result.seconds:.0f} s, {result.peak_mb:,.0f} MB at most")


def _figures(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {float(value):.4f}" for name, value in metrics.items())


def served(_config: "ServeConfig", _result: None) -> None:
    """Say that it has ended."""
    line("stopped; what was accepted was answered")


def key_made(config: "KeyConfig", secret: str) -> None:
    """Print the key, alone on its line."""
    line(f"key {config.name} may {', '.join(config.scopes)}; it is kept nowhere, so hand it on now:")
    line(secret)
