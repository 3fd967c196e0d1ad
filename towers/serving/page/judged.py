"""What the versions of a bundle are, and how each was judged before it was published."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from towers.publishing import current_name, version_names
from towers.publishing.bundle import read_manifest
from towers.serving.page.messages import PageFigure, PageJudged, PageVersion
from towers.types import BundleError

FIGURES = ("recall@100", "hit@10", "ndcg@10", "mrr@100", "coverage@100")
"""The figures that are told, where the report has them; floors are in the order of the first."""


def told_versions(root: Path, served: str) -> list[PageVersion]:
    """Return all versions of a bundle, newest first.

    Args:
        root: Folder of the bundle.
        served: Which one answers now.
    """
    try:
        current = current_name(root)
    except BundleError:
        current = ""
    return [_told(root / "versions" / name, name == served, name == current) for name in reversed(version_names(root))]


def _told(folder: Path, served: bool, current: bool) -> PageVersion:
    try:
        manifest = read_manifest(folder)
        verdict, judged = _report(folder / "report.json")
    except (BundleError, OSError, ValueError, KeyError, TypeError) as error:
        return PageVersion(folder.name, served, current, fault=str(error))
    counts = manifest["counts"]
    return PageVersion(
        name=folder.name,
        served=served,
        current=current,
        created_at=manifest["created_at"],
        videos=counts["videos"],
        users=counts["users"],
        dim=manifest["dim"],
        index=manifest["index"]["kind"],
        verdict=verdict,
        judged=judged,
    )


def _report(page: Path) -> tuple[str, list[PageJudged]]:
    """Return the verdict and the figures of a report, nothing where there is none."""
    if not page.is_file():
        return "", []
    report = json.loads(page.read_text(encoding="utf-8"))
    judged = [_judged(name, figures) for name, figures in report.get("floors", {}).items()]
    judged.sort(key=lambda each: -each.figures[FIGURES[0]].value if FIGURES[0] in each.figures else 0)
    if "metrics" in report:
        judged.insert(0, _judged("towers", report["metrics"]))
    return report.get("verdict", ""), judged


def _judged(name: str, figures: Mapping[str, Any]) -> PageJudged:
    return PageJudged(name, {each: _figure(figures[each]) for each in FIGURES if each in figures})


def _figure(said: Any) -> PageFigure:  # noqa: ANN401 - as JSON has it
    if isinstance(said, Mapping):
        return PageFigure(said["value"], said.get("low"), said.get("high"))
    return PageFigure(float(said), None, None)
