"""What a run says of itself when it is finished."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from towers import __version__
from towers.models import TwoTower
from towers.training.journal import Row
from towers.training.stage import best_epoch
from towers.training.strength import Figures
from towers.types import peak_mb


def summary(
    plain: dict[str, Any], stages: list[list[Row]], valid: Figures, towers: TwoTower, seconds: float
) -> dict[str, Any]:
    """Return run.json.

    Args:
        plain: The config as plain values.
        stages: The journals' rows, of the fit and of the refit.
        valid: Figures of the valid split that the towers have and the journal does not.
        towers: What came of it.
        seconds: It took in all.
    """
    rows, refit_rows = stages
    figure = plain["optim"]["steer"]
    epochs = best_epoch(rows, figure)
    best = next(row for row in rows if row["epoch"] == epochs)
    spent, rate = ([float(row[name]) for row in [*rows, *refit_rows]] for name in ("seconds", "positions_per_s"))
    return {
        "dataset": str(Path(plain["dataset"]).resolve()),
        "dataset_fingerprint": plain["dataset_fingerprint"],
        "config": plain,
        "seed": plain["seed"],
        "best_epoch": epochs,
        "chosen_by": f"valid {figure}",
        "refitted": bool(refit_rows),
        "valid": {name: best[name] for name in best if "@" in name} | valid,
        "popularity_strength": towers.config.strength if towers.config.leans else None,
        "positions_per_second": float(np.median(rate)),
        "cost": {
            "seconds": round(max(seconds, sum(spent)), 2),
            "training_seconds": round(sum(spent), 2),
            "peak_mb": round(peak_mb(), 1),
        },
        "versions": {"towers": __version__, "torch": torch.__version__, "lightning": version("pytorch-lightning")},
    }
