"""Looks for a learning rate: how the loss answers while the rate rises from nothing to far too much."""

import copy
import csv
import dataclasses
import itertools
import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.figure import Figure

from towers.data import write_json
from towers.features import Batch, BatchSource
from towers.losses import Loss
from towers.models import TwoTower
from towers.training.adam import RowAdamW, shorten
from towers.training.config import OptimConfig, TrainConfig
from towers.training.module import TowersModule
from towers.training.ranks import Ranks
from towers.types import RunError

STEPS = 200
LOWEST, HIGHEST = 1e-5, 1.0
SMOOTHING = 0.95
"""Of the loss from batch to batch: they differ more among themselves than a step changes them."""
SETTLED = 20
"""Steps after which the smoothed loss says something."""
NAME = "learning_rate"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RangeTest:
    """What was seen.

    Attributes:
        rates: Learning rates, rising, [s].
        losses: Loss of each step's batch before the step, [s].
    """

    rates: Float64[np.ndarray, " s"]
    losses: Float64[np.ndarray, " s"]

    @property
    def smoothed(self) -> Float64[np.ndarray, " s"]:
        """The running mean of the losses, [s]."""
        out, mean = np.empty(len(self.losses)), 0.0
        for step, loss in enumerate(self.losses):
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            out[step] = mean / (1 - SMOOTHING ** (step + 1))
        return out

    @property
    def suggestion(self) -> float:
        """The rate at which the loss falls fastest for each factor that the rate rises by."""
        slope = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[SETTLED:][slope[SETTLED:].argmin()])

    def save(self, folder: Path) -> None:
        """Write the curve as numbers and as a picture, and the suggestion."""
        with (folder / f"{NAME}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["learning_rate", "loss", "smoothed"])
            writer.writerows(zip(self.rates, self.losses, self.smoothed, strict=True))
        canvas = Figure(figsize=(6.2, 3.4), layout="constrained")
        axes = canvas.subplots()
        axes.plot(self.rates, self.losses, color="#b0a392", linewidth=0.8, label="of each batch")
        axes.plot(self.rates, self.smoothed, color="#0b6e99", linewidth=2, label="running mean")
        axes.axvline(self.suggestion, color="#33393f", linestyle=":", label=f"falls fastest: {self.suggestion:.2g}")
        axes.set(xlabel="learning rate", ylabel="loss", xscale="log")
        axes.legend(frameon=False, fontsize=9)
        canvas.savefig(folder / f"{NAME}.png", dpi=150)
        # Last, for it says that there is a suggestion.
        write_json(folder / f"{NAME}.json", {"suggestion": self.suggestion})


def range_test(towers: TwoTower, loss: Loss, optim: OptimConfig, source: BatchSource, seed: int) -> RangeTest:
    """Train a copy of the towers for a few steps, each with a somewhat larger step size.

    Args:
        towers: To begin from; they stay as they are.
        loss: To be made small.
        optim: Weight decay and clipping.
        source: Of batches.
        seed: Of their order and of dropout.

    Raises:
        RunError: The loss is not finite from the beginning.

    Source:
        Smith 2017, Cyclical learning rates for training neural networks, section 3.3; that the rate of the
        steepest fall is taken, Howard and Gugger 2020, fastai, on its learning rate finder.
    """
    module = TowersModule(copy.deepcopy(towers), loss, optim, seed, lambda *_: False)
    optimizer = RowAdamW(module.parameters(), LOWEST, optim.weight_decay)
    rates, losses = np.geomspace(LOWEST, HIGHEST, STEPS), []
    torch.manual_seed(seed)
    for rate, batch in zip(rates, _full(source, seed), strict=False):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        value = module.value_of(batch)
        if not math.isfinite(float(value.detach())):
            break
        losses.append(float(value.detach()))
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        shorten(module.parameters(), optim.clip or math.inf)
        optimizer.step()
        module.towers.bound_temperature()
    if len(losses) < 2 * SETTLED:
        raise RunError(
            f"optim.find: the loss is not finite from a learning rate of {rates[len(losses)]:.2g} on, before anything "
            "could be seen; set optim.learning_rate by hand"
        )
    return RangeTest(rates[: len(losses)], np.array(losses))


def _full(source: BatchSource, seed: int) -> Iterator[Batch]:
    """Yield an epoch's batches after another's without end, but for leftovers: with few candidates their loss is low.

    A leftover has less than half the positions of the largest batch so far; the first is never one.
    """
    largest = 0
    for number in itertools.count():
        for batch in source.epoch(seed, number):
            largest = max(largest, batch.positions)
            if 2 * batch.positions >= largest:
                yield batch


def found(config: TrainConfig, towers: TwoTower, source: BatchSource, ranks: Ranks) -> TrainConfig:
    """Return the config with the learning rate that a look at the data suggests; a run looks once.

    Args:
        config: Of the run.
        towers: As training will begin.
        source: Of its batches.
        ranks: The processes that share it; the first one looks.
    """
    folder = Path(config.run)
    page = folder / f"{NAME}.json"
    if ranks.gather(not page.is_file())[0]:
        whole = dataclasses.replace(source, part=0, parts=1)
        ranks.once(lambda: range_test(towers, config.loss, config.optim, whole, config.seed).save(folder))
    rate = ranks.gather(_suggested(page))[0]
    _log.info("optim.learning_rate=%.2g: there the loss falls fastest (%s)", rate, page.with_suffix(".png"))
    return dataclasses.replace(config, optim=dataclasses.replace(config.optim, learning_rate=rate))


def learning_rate(config: TrainConfig) -> float:
    """Return the learning rate of a run's fit: what was found, or what was asked for."""
    return _suggested(Path(config.run) / f"{NAME}.json") if config.optim.find else config.optim.learning_rate


def _suggested(page: Path) -> float:
    return float(json.loads(page.read_text(encoding="utf-8"))["suggestion"])
