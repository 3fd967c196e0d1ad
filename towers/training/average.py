"""A running mean of the weights, which swings less from step to step than the weights do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Average(pl.Callback):
    """Keeps the exponential mean of the weights after every step; part of the checkpoint.

    The weights after step t of T count (1 - decay) decay^(T - t), divided by what all of them count, so that the
    first steps are no mean of where the weights began. A row that a step does not touch has the same value before and
    after, so its mean needs no hand until it is touched again: what a step costs does not grow with a table.

    Args:
        towers: Whose weights.
        decay: From 0, which is the weights themselves, to below 1, which remembers 1 / (1 - decay) steps.

    Source:
        Polyak and Juditsky 1992, Acceleration of stochastic approximation by averaging; as an exponential mean,
        Kingma and Ba 2015, Adam, section 7.2.
    """

    def __init__(self, towers: nn.Module, decay: float) -> None:
        self.towers, self.decay = towers, decay
        self.means: dict[str, Tensor] = {}
        self.counted: dict[str, Tensor] = {}
        self.steps = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"means": self.means, "counted": self.counted, "steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint kept."""
        self.means, self.counted = dict(state_dict["means"]), dict(state_dict["counted"])
        self.steps = state_dict["steps"]

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin the means, or bring those of a checkpoint to the weights' device."""
        by_rows = {id(part.weight) for part in self.towers.modules() if isinstance(part, nn.Embedding) and part.sparse}
        for name, weight in self.towers.named_parameters():
            mean = self.means.get(name, torch.zeros_like(weight, requires_grad=False))
            self.means[name] = mean.to(weight.device)
            if id(weight) in by_rows:
                counted = self.counted.get(name, torch.zeros(len(weight), dtype=torch.int32))
                self.counted[name] = counted.to(weight.device)

    @torch.no_grad()
    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        """Count the weights as they are after the last step, before this one changes them."""
        for name, weight in self.towers.named_parameters():
            if name not in self.counted:
                if self.steps:
                    self.means[name].lerp_(weight, 1 - self.decay)
            elif weight.grad is not None:
                weight.grad = weight.grad.coalesce()
                rows = weight.grad.indices()[0]
                self.means[name].index_copy_(0, rows, self._brought_up(name, weight, rows))
                self.counted[name].index_fill_(0, rows, self.steps)
        self.steps += 1

    def _brought_up(self, name: str, weight: Tensor, rows: Tensor) -> Tensor:
        """Return the means of rows after all steps so far, through which each kept its value, [rows, d]."""
        value, mean = weight.index_select(0, rows), self.means[name].index_select(0, rows)
        left = self.decay ** (self.steps - self.counted[name].index_select(0, rows)).to(value.dtype)
        return value + left[:, None] * (mean - value)

    @torch.no_grad()
    def weights(self) -> dict[str, Tensor]:
        """Return the mean of the weights after every step so far."""
        found = {}
        whole = 1 - self.decay**self.steps
        for name, weight in self.towers.named_parameters():
            if name in self.counted:
                rows = torch.arange(len(weight), device=weight.device)
                found[name] = self._brought_up(name, weight, rows) / whole
            else:
                found[name] = torch.lerp(self.means[name], weight, 1 - self.decay) / whole
        return found

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Give the towers the mean of their weights for a while."""
        means = self.weights()
        own = {name: weight.data for name, weight in self.towers.named_parameters()}
        try:
            for name, weight in self.towers.named_parameters():
                weight.data = means[name]
            yield
        finally:
            for name, weight in self.towers.named_parameters():
                weight.data = own[name]
