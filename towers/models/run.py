"""A finished training run, as the rooms above read it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towers.models.storage import load_towers
from towers.models.two_tower import TwoTower
from towers.types import RunError

RUN, TOWERS = "run.json", "towers"
OTHERS = {"events.parquet": "a dataset, not a run", "current": "a bundle, not a run"}


@dataclass(frozen=True)
class Run:
    """What `train` left in a folder.

    Attributes:
        folder: Of the run.
        towers: The best ones.
        info: run.json: dataset, dataset_fingerprint, config, seed, best epoch, valid metrics, cost, versions.
    """

    folder: Path
    towers: TwoTower
    info: dict[str, Any]

    @property
    def dataset(self) -> Path:
        """The dataset folder that the run was trained on."""
        return Path(self.info["dataset"])


def open_run(folder: str | Path) -> Run:
    """Return a finished run.

    Raises:
        RunError: There is no run, or it has not finished.
    """
    folder = Path(folder)
    page = folder / RUN
    if not page.is_file():
        if (folder / "config.json").is_file():
            raise RunError(
                f"{folder} has not finished: {RUN} is missing; `towers train run={folder} …` goes on with it"
            )
        found = next((word for name, word in OTHERS.items() if (folder / name).exists()), "no training run")
        raise RunError(f"{folder} is {found}; give the folder that `towers train run=FOLDER` wrote")
    try:
        info = json.loads(page.read_text())
    except json.JSONDecodeError as error:
        raise RunError(f"{page} is not JSON ({error}); train again") from error
    return Run(folder, load_towers(folder / TOWERS), info)
