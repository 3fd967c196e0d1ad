"""The Lightning module: one step, one epoch's validation, and what a checkpoint remembers."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from towers.features import Batch
from towers.losses import CandidateSet, Loss, candidate_loss
from towers.models import TwoTower
from towers.training.adam import RowAdamW, shorten
from towers.training.config import OptimConfig, Schedule, Tables
from towers.training.losses import Losses
from towers.training.shards import change_rows, shards_of
from towers.types import RunError

LARGE_TABLE = 20_000
"""Rows from which on moving the touched ones alone costs less than one pass over all: with 3,000 touched of 64
numbers each 2 ms either way, with ten times the rows 2 and 36 ms (one thread of an AMD EPYC)."""


class TowersModule(pl.LightningModule):
    """Trains two towers.

    Args:
        towers: To be trained.
        loss: Over corrected logits.
        optim: How the weights move.
        seed: Of dropout; each epoch starts from (seed, epoch), so a resumed run repeats an unbroken one.
        on_epoch: Told the number of each finished epoch and its mean loss; answers whether to stop.
    """

    def __init__(
        self, towers: TwoTower, loss: Loss, optim: OptimConfig, seed: int, on_epoch: Callable[[int, float], bool]
    ) -> None:
        super().__init__()
        self.towers, self.loss, self.optim = towers, loss, optim
        self.seed_number, self.on_epoch = seed, on_epoch
        # Lightning's own mean over an epoch costs some four percent of a small step.
        self.losses = Losses(self._judge)
        if not loss.tempered:
            towers.log_scale.requires_grad_(False)
        for table in (part for part in towers.modules() if isinstance(part, nn.Embedding)):
            large = optim.tables is Tables.auto and table.num_embeddings > LARGE_TABLE
            table.sparse = large or optim.tables is Tables.sparse

    def on_train_epoch_start(self) -> None:
        """Make the epoch's dropout a function of seed, epoch and process."""
        torch.manual_seed(self.seed_number * 1_000_003 + self.current_epoch + self.global_rank * 2**40)
        self.losses.clear()

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the batch's mean loss; of a part of a batch, what makes the mean over processes that of the batch.

        Raises:
            RunError: The loss is not finite; on a GPU that of a step or two before.
        """
        value = self.value_of(batch)
        self.losses.add(value, batch, index)
        return value

    def _judge(self, loss: float, batch: Batch, index: int) -> None:
        """Stop where a loss is not finite."""
        if not math.isfinite(loss):
            place = f"epoch {self.current_epoch + 1}, step {index + 1}"
            raise RunError(f"the loss is {loss} at {place}: {self.cause(batch, late=batch.weight.is_cuda)}")

    def value_of(self, batch: Batch) -> Tensor:
        """Return the loss of a batch, times what it is worth."""
        queries, vectors = self.towers(batch)
        candidates = CandidateSet(vectors, batch.log_q, batch.known, batch.bonus, batch.sizes)
        value = candidate_loss(self.loss, queries, batch.target, batch.weight, candidates, self.towers.scale)
        return value * batch.worth

    def cause(self, batch: Batch, late: bool) -> str:
        """Say where the first thing that is not a number is, and what to do.

        Args:
            batch: Whose loss is not finite.
            late: Whether steps have been taken since, as on a GPU: they have spoilt the weights, whatever it was.
        """
        if not torch.isfinite(batch.weight).all():
            return "a weight in the batch is not finite; look at data.weight and prepare again"
        for name, things in (("video", batch.videos), ("user", batch.users)):
            if not all(torch.isfinite(vectors).all() for vectors in things.vectors):
                return f"a {name}'s content vector is not finite; mend the {name}s table and prepare again"
        lower = f"lower optim.learning_rate ({self.optim.learning_rate})"
        if late:
            return (
                f"the batch is finite, so weights or scores have overflowed: {lower}; accelerator=cpu says which, "
                "for it stops before the step"
            )
        for name, parameter in self.towers.named_parameters():
            if not torch.isfinite(parameter).all():
                return f"the weights {name} are not finite; {lower}"
        return f"the scores overflow; {lower}"

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Keep the temperature in bounds."""
        self.towers.bound_temperature()

    def on_train_epoch_end(self) -> None:
        """Let the run measure the epoch and say whether it was the last."""
        here = torch.tensor(self.losses.mean(), device=self.device)
        loss = float(self.trainer.strategy.reduce(here, reduce_op="mean"))
        self.log("train/loss", loss)
        self.trainer.should_stop = self.on_epoch(self.current_epoch + 1, loss)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Shorten a gradient that is too long, rows of large tables included."""
        if gradient_clip_val:
            dealt = [shards.weight for shards in shards_of(self.towers).values()]
            shorten(self.parameters(), gradient_clip_val, dealt)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write tables whole: any number of processes can go on with them."""
        for name, shards in shards_of(self.towers).items():
            change_rows(checkpoint, name, self._place(shards.weight), shards.collect)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Read only this process's rows of tables that are dealt out."""
        for name, shards in shards_of(self.towers).items():
            change_rows(checkpoint, name, self._place(shards.weight), shards.deal)

    def _place(self, weight: nn.Parameter) -> int:
        return next(place for place, parameter in enumerate(self.parameters()) if parameter is weight)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW over all weights and the course of its step size."""
        optimizer = RowAdamW(self.parameters(), self.optim.learning_rate, self.optim.weight_decay)
        if self.optim.schedule is Schedule.constant:
            return optimizer
        steps = int(self.trainer.estimated_stepping_batches)
        course = LambdaLR(optimizer, partial(cosine, steps=steps, warm_up=self.optim.warm_up))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": course, "interval": "step"}}


def cosine(step: int, steps: int, warm_up: int = 50) -> float:
    """Return the share of the highest step size at a step: a short rise, then half a cosine to 0.

    Args:
        step: From 0.
        steps: Of the whole stage.
        warm_up: Steps of the rise; at most a tenth of all.

    Source:
        Loshchilov and Hutter 2017, SGDR, eq. 5, without restarts.

    Example:
        >>> [round(cosine(step, 1000), 3) for step in (0, 49, 500, 1000)]
        [0.02, 0.994, 0.5, 0.0]
    """
    rise = min(warm_up, max(1, steps // 10))
    return min(1.0, (step + 1) / rise) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
