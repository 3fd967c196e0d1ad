"""Hands an epoch's batches to Lightning."""

from collections.abc import Iterator

import pytorch_lightning as pl
import torch

from towers.features import Batch, BatchSource


class Epoch:
    """One epoch's batches, put together as they are asked for."""

    def __init__(self, source: BatchSource, seed: int, number: int) -> None:
        self.source, self.seed, self.number = source, seed, number
        self.count = source.length(seed, number)

    def __iter__(self) -> Iterator[Batch]:
        return self.source.epoch(self.seed, self.number)

    def __len__(self) -> int:
        return self.count


class TowersData(pl.LightningDataModule):
    """Batches of a source; the order of an epoch follows from the seed and its number alone."""

    def __init__(self, source: BatchSource, seed: int) -> None:
        super().__init__()
        self.source, self.seed = source, seed

    def train_dataloader(self) -> Epoch:
        """Return the batches of the trainer's epoch."""
        number = self.trainer.current_epoch if self.trainer is not None else 0
        return Epoch(self.source, self.seed, number)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; Lightning would not look inside it."""
        return batch.to(device)
