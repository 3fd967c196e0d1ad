"""What `towers evaluate` can be told; imports no torch."""

from dataclasses import dataclass, field
from enum import Enum

from towers.kinds import check_folders, check_kinds
from towers.types import ConfigError


class Judged(Enum):
    """Which part of the dataset the videos to be found come from."""

    valid = "valid"
    """What the epoch was chosen on: figures flatter the towers a little."""
    test = "test"
    """What nothing was chosen on."""


def every_floor() -> list[str]:
    """Return the names of all floors."""
    return ["popular", "popular_in_last", "popular_in_days", "item_knn", "ease", "ials"]


@dataclass(kw_only=True)
class EvaluateConfig:
    """What to evaluate, against what, and where the answer goes."""

    run: str
    """Folder of a finished training run."""
    dataset: str | None = None
    """Folder of the dataset; the one that the run was trained on unless named."""
    split: Judged = Judged.test
    """Part of the dataset that holds the videos to be found."""
    lists: str | None = None
    """Parquet file to write every user's ranked list to: user_id, video_id, rank, score."""
    report: str | None = None
    """Folder for report.json and report.html; `report` inside the run's folder unless named, or `report-SPLIT` where
    that holds one on test against all floors and this is none."""
    floors: list[str] = field(default_factory=every_floor)
    """What to compare with; most time goes into `ease`, then into `ials`."""
    engagement: bool = True
    """Whether a run's engagement head, if it has one, is judged on the exposures of test."""
    draws: int = 1000
    """Bootstrap samples behind each interval."""
    examples: int = 6
    """Users to show in the report, drawn at random."""
    seed: int = 0
    """Of the bootstrap and of the users shown."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        check_folders(self, "run")
        known = every_floor()
        if unknown := [name for name in self.floors if name not in known]:
            raise ConfigError(f"floors has {unknown[0]!r}; choose from {', '.join(known)}")
        if not self.floors:
            raise ConfigError(f"floors is empty, so there is nothing to beat; choose from {', '.join(known)}")
        if self.draws < 2:
            raise ConfigError(f"draws is {self.draws}; an interval needs at least 2, usually 200 to 1,000")
        for name in ("examples", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more")
        if self.lists is not None and not self.lists.endswith(".parquet"):
            raise ConfigError(f"lists is {self.lists!r}; expected a file name that ends in .parquet")
