"""A fitted engagement head, with all that it takes to ask it, in a folder of a run."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64, Int64

from towers.data import atomic_folder, write_json
from towers.models.engagement import EngagementConfig, EngagementHead
from towers.models.occasions import Occasions, Values
from towers.models.two_tower import TwoTower
from towers.types import DataError, RunError

ENGAGEMENT = "engagement"
"""Folder in a run's."""
PAGE, WEIGHTS = "head.json", "weights.pt"


@dataclass(frozen=True)
class EngagementModel:
    """How likely an exposed video is to be liked.

    Attributes:
        head: The network.
        values: Of each declared circumstance, the values it knows.
        names: The statistics it reads, in their order.
        threshold: Probability from which on to say that a video will be liked: best F1 on valid.
        valid: Figures on valid, of users whose valid exposures the last layer had not seen.
    """

    head: EngagementHead
    values: Values
    names: list[str]
    threshold: float
    valid: dict[str, float]

    def chances(
        self, occasions: Occasions, towers: TwoTower, places: Int64[np.ndarray, " p"]
    ) -> Float64[np.ndarray, " p"]:
        """Return the probability that each exposure at these places becomes a positive, [p].

        Raises:
            DataError: The exposures' statistics are others than the head has learned from.
            TowersError: A probability is not finite.
        """
        if occasions.so_far.names != self.names:
            other = sorted(set(self.names) ^ set(occasions.so_far.names)) or ["their order"]
            raise DataError(
                f"the engagement head was fitted on other statistics of the past: {other[0]!r} differs; "
                "fit it on this dataset: towers train … engagement.fit=true"
            )
        return self.head(occasions.known(self.values, places), *occasions.vectors(towers, places))

    def save(self, folder: Path) -> None:
        """Write a new folder, or replace the one there, all or nothing."""
        head = self.head
        page = {
            "config": dataclasses.asdict(head.config),
            "sizes": head.sizes,
            "circumstances": head.circumstances,
            "dim": head.dim,
            "values": self.values,
            "names": self.names,
            "threshold": self.threshold,
            "valid": self.valid,
        }
        with atomic_folder(folder) as partial:
            torch.save(head.state_dict(), partial / WEIGHTS)
            write_json(partial / PAGE, page)


def open_engagement(run: str | Path) -> EngagementModel | None:
    """Return the engagement head of a run's folder, None where it has none.

    It is asked about events of a dataset, those of test here::

        run, head = open_run("runs/mine/run"), open_engagement("runs/mine/run")
        occasions = Occasions.of(Dataset.open(run.dataset), list(head.values))
        shown = occasions.exposures.of_split(Split.test)
        chances = head.chances(occasions, run.towers, shown)  # [len(shown)], of becoming a positive

    Raises:
        RunError: A file is missing or does not fit the other.
    """
    folder = Path(run) / ENGAGEMENT
    if not folder.is_dir():
        return None
    remedy = "remove the folder and fit it again: towers train … engagement.fit=true"
    try:
        page: dict[str, Any] = json.loads((folder / PAGE).read_text(encoding="utf-8"))
        values = {name: page["values"][name] for name in page["config"]["context"]}
        config = EngagementConfig(**page["config"])
        head = EngagementHead(page["sizes"], page["circumstances"], len(page["names"]), page["dim"], config)
        head.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu"))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"{folder} holds no engagement head of this version ({error}); {remedy}") from error
    return EngagementModel(head.eval(), values, page["names"], page["threshold"], page["valid"])
