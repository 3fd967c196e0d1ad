"""How well an engagement head tells which exposed videos are liked, beside rates that anybody can count."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from towers.data import Dataset, Split
from towers.evaluation.interval import LEVEL, Figure
from towers.features.so_far import logit
from towers.metrics import BINARY, Judgement, best_threshold
from towers.models import Run
from towers.models.engagement import logistic
from towers.models.engagement_model import EngagementModel, open_engagement
from towers.models.occasions import Occasions
from towers.types import DataError

FLOOR = "user's and video's rate"
DRAWS = 200
"""Bootstrap samples, at most: each sorts nothing but adds up all exposures."""


@dataclass(frozen=True)
class Engaged:
    """Probabilities of one split's exposures, from the head and from the floor.

    Attributes:
        user_row: Whose each exposure is, [n].
        judged: The head's name first, then the floor's: what they say, beside what came true.
        threshold: From which probability on the head says that a video will be liked.
        valid: The head's figures on valid.
    """

    user_row: Int64[np.ndarray, " n"]
    judged: dict[str, Judgement]
    threshold: float
    valid: dict[str, float]

    @classmethod
    def of(cls, model: EngagementModel, run: Run, dataset: Dataset, split: Split) -> "Engaged":
        """Ask the head and the floor about a split's exposures.

        Raises:
            DataError: The split holds no exposures of both outcomes, or other statistics than the head knows.
        """
        occasions = Occasions.of(dataset, list(model.values))
        exposures = occasions.exposures
        places, valid = exposures.of_split(split), exposures.of_split(Split.valid)
        if not len(places):
            raise DataError(
                f"{dataset.folder}: no event of the {split.name} split has a time, so the engagement head cannot be "
                "judged there; evaluate with engagement=false"
            )
        liked = exposures.liked[places]
        if liked.all() or not liked.any():
            raise DataError(
                f"{dataset.folder}: of {len(places)} exposures in {split.name} {int(liked.sum())} are positives, so "
                "there is nothing to tell apart; evaluate another split, or set engagement=false"
            )
        ours = Judgement.of(model.chances(occasions, run.towers, places), liked, model.threshold)
        floor = _floor(occasions, valid)
        floor_judged = Judgement.of(floor[places], liked, best_threshold(floor[valid], exposures.liked[valid]))
        judged = {"engagement head": ours, FLOOR: floor_judged}
        return cls(exposures.user_row[places].astype(np.int64), judged, model.threshold, model.valid)

    def report(self, draws: int, seed: int) -> dict[str, Any]:
        """Return figures with 95% intervals over users, drawn for both alike, and what the calibration plot shows."""
        names = list(self.judged)
        users, owner = np.unique(self.user_row, return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = np.empty((min(draws, DRAWS), len(names), len(BINARY)))
        for line in drawn:
            times = np.bincount(rng.integers(0, len(users), len(users)), minlength=len(users))[owner].astype(float)
            for place, judged in enumerate(self.judged.values()):
                line[place] = list(judged.figures(times).values())
        exact = np.array([list(judged.figures().values()) for judged in self.judged.values()])
        figures = {
            name: {metric: _figure(exact[i, j], drawn[:, i, j]) for j, metric in enumerate(BINARY)}
            for i, name in enumerate(names)
        }
        first = self.judged[names[0]]
        return {
            "exposures": len(self.user_row),
            "users": len(users),
            "liked": float(first.liked.mean()),
            "threshold": self.threshold,
            "figures": figures,
            "auc gain": _figure(exact[0, 0] - exact[1, 0], drawn[:, 0, 0] - drawn[:, 1, 0]),
            "valid": self.valid,
            "calibration": {name: judged.groups() for name, judged in self.judged.items()},
            "draws": len(drawn),
        }


def engagement_of(run: Run, dataset: Dataset, split: Split, draws: int, seed: int) -> dict[str, Any] | None:
    """Return what a run's engagement head is worth on a split, None where the run has none or the split is valid.

    What the head says of valid it has learned from valid.
    """
    model = open_engagement(run.folder)
    if model is None or split is Split.valid:
        return None
    return Engaged.of(model, run, dataset, split).report(draws, seed)


def _floor(occasions: Occasions, valid: Int64[np.ndarray, " p"]) -> Float64[np.ndarray, " n"]:
    """Return, of all exposures, the odds of the user's rate times those of the video's, calibrated on valid, [n]."""
    so_far = occasions.so_far
    odds = logit(so_far.user_rate) + logit(so_far.video_rate) - logit(so_far.base_rate)
    inputs = torch.from_numpy(odds)[:, None]
    liked = torch.from_numpy(occasions.exposures.liked.astype(np.float64))
    weights = logistic(inputs[valid], liked[valid], ridge=1e-3)
    return torch.sigmoid(inputs[:, 0] * weights[1] + weights[0]).numpy()


def _figure(value: float, drawn: np.ndarray) -> Figure:
    # A draw of users who all liked, or none, has no AUC.
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(known) else (value, value)
    return {"value": float(value), "low": float(min(low, value)), "high": float(max(high, value))}
