"""What is kept and shown of every epoch: history.csv, and a bar or a line on the terminal."""

import csv
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from towers.features import Batch
from towers.training.config import FIGURES

FIELDS = ("stage", "epoch", "loss", *FIGURES, "seconds", "positions_per_s")
Row = dict[str, float | int | str]


class Journal(pl.Callback):
    """Rows of the epochs so far; part of the checkpoint, so a resumed run has them all once.

    Args:
        path: history.csv; None: written by another process.
        stage: "fit" or "refit".
        before: Rows of earlier stages.
        show: Whether to tell the terminal.
        figure: The figure of valid by which the epoch is chosen, told first.
    """

    def __init__(self, path: Path | None, stage: str, before: list[Row], *, show: bool, figure: str) -> None:
        self.path, self.stage, self.before = path, stage, before
        self.rows: list[Row] = []
        self.shown = dict.fromkeys([figure, "recall@100", "ndcg@10"])
        self.console = Console(stderr=True, quiet=not show)
        self.bar: Progress | None = None
        self.positions, self.began, self.spent = 0, 0.0, 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the bar."""
        self.positions, self.began = 0, time.perf_counter()
        if self.console.is_terminal and not self.console.quiet:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[rate]}"),
            )
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.bar.start()
            name = f"{self.stage} {trainer.current_epoch + 1}/{trainer.max_epochs}"
            self.bar.add_task(name, total=trainer.num_training_batches, rate="")

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count, and move the bar."""
        self.positions += batch.positions
        self.spent = time.perf_counter() - self.began
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], advance=1, rate=f"{self.positions / self.spent:,.0f} positions/s")

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away; the figures follow once they are measured. A GPU may have steps left to do: they count."""
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize(pl_module.device)
            self.spent = time.perf_counter() - self.began
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal as it was."""
        self.close()

    def add(self, epoch: int, loss: float | None, valid: dict[str, float]) -> None:
        """Add the row of an epoch to the file, all or nothing, and say it; without a loss nothing was trained."""
        row: Row = {"stage": self.stage, "epoch": epoch, "loss": "" if loss is None else loss, **valid}
        row |= {"seconds": round(self.spent, 3), "positions_per_s": round(self.positions / max(self.spent, 1e-9))}
        self.rows.append(row)
        if self.path is not None:
            self._write(self.path)
        figures = "".join(f"  {name} {row[name]:.4f}" for name in self.shown if name in row)
        pace = f"  {row['positions_per_s']:>9,} positions/s" if self.positions else ""
        self.console.print(
            f"{self.stage} {epoch:>3}{'' if loss is None else f'  loss {loss:.4f}'}{figures}{pace}"
            f"  {row['seconds']:.1f} s",
            highlight=False,
            soft_wrap=True,
        )

    def _write(self, path: Path) -> None:
        partial = path.with_suffix(".partial")
        with partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows([*self.before, *self.rows])
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
