"""The report as data: what was measured, beside what has to be beaten."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from towers.data import write_json
from towers.evaluation.interval import Figure, half_width
from towers.evaluation.measure import HEADLINE
from towers.evaluation.slices import Slice
from towers.metrics import BINARY
from towers.types import ConfigError, DataError

Figures = dict[str, Figure | float]
COVERAGE = "coverage@100"


@dataclass(frozen=True)
class Report:
    """How good towers are.

    Attributes:
        protocol: Name of the split that was followed.
        setting: How it was measured, in words and numbers that are needed to repeat it.
        metrics: Name (as the referee's) → value with interval, or a count.
        floors: Name → metrics, of each simple rival under the very same conditions.
        left_out: Floor → why it was not measured.
        verdict: One sentence.
        gain: Recall@100 of the towers less that of the best floor, over the same users.
        slices: Recall@100 by kind of user, video and day, beside the best floor's.
        curves: Who → mean recall at k = 1 … 100.
        cost: `seconds` of wall time, `peak_mb` of memory of the process.
        engagement: What the engagement head is worth, as :meth:`towers.evaluation.engaged.Engaged.report` tells it;
            None where the run has none.
    """

    protocol: str
    setting: dict[str, Any]
    metrics: Figures
    floors: dict[str, Figures]
    left_out: dict[str, str]
    verdict: str
    gain: Figure
    slices: list[Slice]
    curves: dict[str, list[float]]
    cost: dict[str, float]
    engagement: dict[str, Any] | None = None

    @property
    def best_floor(self) -> str:
        """The floor with the highest recall@100."""
        return best_of(self.floors)

    def write(self, folder: Path) -> None:
        """Write report.json.

        Raises:
            DataError: A figure is not finite; no such figure may be read by anybody.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_json(folder / "report.json", asdict(self))
        except ValueError as error:
            raise DataError(
                f"{folder / 'report.json'}: a figure is NaN or infinite ({error}); nothing was written"
            ) from error

    @classmethod
    def read(cls, folder: str | Path) -> "Report":
        """Read report.json again.

        Raises:
            DataError: There is none, or it is of another version.
        """
        page = Path(folder) / "report.json"
        if not page.is_file():
            raise DataError(f"{page} does not exist; make it with: towers evaluate run=… report={folder}")
        try:
            return cls(**json.loads(page.read_text(encoding="utf-8")))
        except TypeError as error:
            raise DataError(f"{page} is of another version ({error}); evaluate again") from error

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a header and the lines of the main table, as text: the towers, then the floors.

        Example:
            A line reads `["towers", ".144 ±.005", ".383 ±.007", …, ".543"]`.
        """
        header = ["", *HEADLINE, COVERAGE]
        everything = {"towers": self.metrics} | self.floors
        return header, [[who, *(cell(figures, name) for name in header[1:])] for who, figures in everything.items()]

    def engagement_rows(self) -> tuple[list[str], list[list[str]]]:
        """Return a header and the lines of the engagement head's table, as text; no lines where the run has none."""
        header = ["", *(name.replace("_", " ") for name in BINARY)]
        figures: dict[str, Figures] = self.engagement["figures"] if self.engagement else {}
        return header, [[who, *(cell(found, name) for name in BINARY)] for who, found in figures.items()]


def refuse_other(folder: Path, lists: str | None) -> None:
    """Refuse a folder for a report that holds something else than an evaluation leaves that was broken off.

    Args:
        folder: For the report.
        lists: Where its lists go.

    Raises:
        ConfigError: What it holds.
    """
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    own = None if lists is None else Path(lists).absolute()
    names = [path.name for path in found if not path.name.startswith(".report.") and path.absolute() != own]
    if names and not {"report.json", "report.html"} & set(names):
        raise ConfigError(f"report is {folder}, which holds {names[0]} and is no report; choose another report=FOLDER")


def value_of(figures: Figures, name: str) -> float:
    """Return a figure without its interval."""
    figure = figures[name]
    return figure["value"] if isinstance(figure, dict) else figure


def best_of(floors: dict[str, Figures]) -> str:
    """Return the name of the floor with the highest recall@100."""
    return max(floors, key=lambda name: value_of(floors[name], "recall@100"))


def verdict_of(gain: Figure, ours: float, floor: str, theirs: float) -> str:
    """Return the outcome as one plain sentence.

    Args:
        gain: Difference in recall@100 with its interval, paired by user.
        ours: Recall@100 of the towers.
        floor: Name of the best floor.
        theirs: Its recall@100.

    Example:
        >>> verdict_of({"value": 0.02, "low": 0.01, "high": 0.03}, 0.38, "EASE", 0.36)[:77]
        'The towers beat the best floor, EASE, on recall@100: 0.380 against 0.360, +0.'
    """
    if gain["low"] > 0:
        outcome = "beat"
    elif gain["high"] < 0:
        outcome = "do not beat"
    else:
        outcome = "are not told apart from"
    return (
        f"The towers {outcome} the best floor, {floor}, on recall@100: {ours:.3f} against {theirs:.3f}, "
        f"{gain['value']:+.3f} (95% interval {gain['low']:+.3f} to {gain['high']:+.3f})."
    )


def cell(figures: Figures, name: str, *, width: bool = True) -> str:
    """Return a figure as text: its value and half the width of its interval, or – where there is none.

    Example:
        >>> cell({"recall@20": {"value": 0.1442, "low": 0.139, "high": 0.149}}, "recall@20")
        '.144 ±.005'
    """
    figure = figures.get(name)
    if figure is None:
        return "–"
    if not isinstance(figure, dict):
        return f"{figure:,.0f}"
    digits = 4 if name.startswith(("ndcg", "precision@", "f1@", "auc", "log_loss", "calibration")) else 3
    value, half = (f"{number:.{digits}f}".replace("0.", ".", 1) for number in (figure["value"], half_width(figure)))
    return f"{value} ±{half}" if width and half_width(figure) else value
