"""Hands an epoch's batches to Lightning."""

from collections.abc import Iterator

import pytorch_lightning as pl
import torch

from towers.features import Batch, BatchSource
from towers.training.ahead import ahead


class Epoch:
    """One epoch's batches, put together as they are asked for; for a GPU ahead of that, by a thread.

    A CPU has no time to spare for a thread, and a sampler that asks the towers has to wait for its turn.
    """

    def __init__(self, source: BatchSource, seed: int, number: int, device: torch.device | None = None) -> None:
        self.source, self.seed, self.number, self.device = source, seed, number, device
        self.count = source.length(seed, number)

    def __iter__(self) -> Iterator[Batch]:
        batches = self.source.epoch(self.seed, self.number)
        if self.device is None or self.device.type == "cpu" or self.source.sampler.asks:
            return batches
        return ahead(batches, self.device)

    def __len__(self) -> int:
        return self.count


class TowersData(pl.LightningDataModule):
    """Batches of a source; the order of an epoch follows from the seed and its number alone."""

    def __init__(self, source: BatchSource, seed: int) -> None:
        super().__init__()
        self.source, self.seed = source, seed

    def train_dataloader(self) -> Epoch:
        """Return the batches of the trainer's epoch."""
        if self.trainer is None:
            return Epoch(self.source, self.seed, 0)
        return Epoch(self.source, self.seed, self.trainer.current_epoch, self.trainer.strategy.root_device)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; Lightning would not look inside it."""
        return batch.to(device)
