"""One stage of a run: a fit that stops when the valid split no longer improves, or a refit of fixed length."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import TensorBoardLogger

from towers.features import BatchSource
from towers.models import TwoTower
from towers.training.average import Average
from towers.training.checkpoint import KeptCheckpoints, WholeCheckpoints, read_checkpoint
from towers.training.config import Strategy, TrainConfig
from towers.training.data_module import TowersData
from towers.training.journal import Journal, Row
from towers.training.module import TowersModule
from towers.training.precision import precision_of
from towers.training.ranks import Ranks, strategy_of
from towers.training.shards import dealt_out

Figures = dict[str, float]


@dataclass(kw_only=True)
class Stage:
    """A stage that goes on where a killed process left it.

    Attributes:
        name: "fit" or "refit".
        config: Of the run.
        epochs: At most.
        validate: Towers → figures of the valid split; None: nothing is measured, all epochs are run.
        before: Journal rows of earlier stages.
        ranks: The processes that share it.
    """

    name: str
    config: TrainConfig
    epochs: int
    validate: Callable[[TwoTower], Figures] | None
    before: list[Row]
    ranks: Ranks = field(default_factory=Ranks)

    @property
    def folder(self) -> Path:
        """Where the stage keeps its checkpoints."""
        return Path(self.config.run) / "checkpoints" / self.name

    def run(self, towers: TwoTower, source: BatchSource) -> list[Row]:
        """Train, or go on training; `towers` ends as the best epoch's, or the last's where none is measured.

        Returns:
            The journal's rows of this stage.
        """
        journal = self._journal()
        last = self.folder / "last.ckpt"
        begun = self.ranks.same(last.is_file(), f"the existence of {last}")
        if begun:
            journal.rows = read_checkpoint(last)["callbacks"][journal.state_key]["rows"]
            how = "had ended" if self.finished(journal.rows) else "goes on"
            journal.console.print(f"{self.name} {how} after epoch {len(journal.rows)}", highlight=False)
        if not self.finished(journal.rows):
            self._fit(towers, source, journal, last if begun else None)
        self._take_up(towers, self.folder / ("best.ckpt" if self.validate else "last.ckpt"))
        return journal.rows

    def measured(self, towers: TwoTower, seconds: float) -> list[Row]:
        """Return the journal's row of towers that took so long to make and are not trained, as epoch 0."""
        journal = self._journal()
        journal.spent = seconds
        journal.add(0, None, self.validate(towers) if self.validate else {})
        return journal.rows

    def _journal(self) -> Journal:
        path = Path(self.config.run) / "history.csv" if self.ranks.first else None
        show, figure = self.config.progress and self.ranks.first, self.config.optim.steer
        return Journal(path, self.name, self.before, show=show, figure=figure)

    def _take_up(self, towers: TwoTower, path: Path) -> None:
        """Give towers the weights of a checkpoint, or their mean where one is kept."""
        checkpoint = read_checkpoint(path)
        towers.load_state_dict({n.removeprefix("towers."): value for n, value in checkpoint["state_dict"].items()})
        if self.config.optim.average:
            average = Average(towers, self.config.optim.average)
            average.load_state_dict(checkpoint["callbacks"][average.state_key])
            towers.load_state_dict(average.weights(), strict=False)

    def finished(self, rows: list[Row]) -> bool:
        """Say whether the epochs so far are all that are needed."""
        if len(rows) >= self.epochs:
            return True
        optim = self.config.optim
        return self.validate is not None and len(rows) - best_epoch(rows, optim.steer) >= optim.patience

    def _fit(self, towers: TwoTower, source: BatchSource, journal: Journal, resume: Path | None) -> None:
        average = Average(towers, self.config.optim.average) if self.config.optim.average else None

        def on_epoch(epoch: int, loss: float) -> bool:
            with average.swapped() if average else nullcontext():
                figures = self.validate(towers) if self.validate else {}
            module.log_dict({f"valid/{name}": value for name, value in figures.items()})
            journal.add(epoch, loss, figures)
            return self.finished(journal.rows)

        module = TowersModule(towers, self.config.loss, self.config.optim, self.config.seed, on_epoch)
        kept = [self._checkpoint("last", None)]  # its own callback: save_last leaves out the epochs that are not best
        if self.validate:
            kept.insert(0, self._checkpoint("best", f"valid/{self.config.optim.steer}"))
        rows = self.ranks.met and self.config.trainer.strategy is Strategy.rows
        with _quiet(), dealt_out(towers, module, self.ranks) if rows else nullcontext():
            trainer = self._trainer([journal, *([average] if average else []), *kept])
            trainer.fit(module, TowersData(source, self.config.seed), ckpt_path=resume, weights_only=False)

    def _checkpoint(self, name: str, monitor: str | None) -> ModelCheckpoint:
        """Return what keeps the best epoch by a figure, or the last epoch."""
        return KeptCheckpoints(
            self.folder,
            filename=name,
            monitor=monitor,
            mode="max",
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        )

    def _trainer(self, callbacks: list[pl.Callback]) -> pl.Trainer:
        return pl.Trainer(
            accelerator=self.config.accelerator.name,
            devices=self.ranks.here,
            num_nodes=self.ranks.count // self.ranks.here,
            strategy=strategy_of(self.ranks),
            max_epochs=self.epochs,
            logger=TensorBoardLogger(self.config.run, name="logs", version=self.name),
            callbacks=callbacks,
            plugins=[WholeCheckpoints(), precision_of(self.config)],
            gradient_clip_val=self.config.optim.clip or None,
            accumulate_grad_batches=self.config.optim.accumulate,
            enable_progress_bar=False,
            enable_model_summary=False,
            reload_dataloaders_every_n_epochs=1,
            log_every_n_steps=10,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Lightning says about itself from people who did not ask."""
    logger = logging.getLogger("pytorch_lightning")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Cc]heckpoint directory .* exists", category=UserWarning)
            warnings.filterwarnings("ignore", message=".*smaller than the logging interval", category=UserWarning)
            warnings.filterwarnings("ignore", message=".*on epoch level in distributed setting", category=UserWarning)
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            yield
    finally:
        logger.setLevel(level)


def best_epoch(rows: list[Row], figure: str) -> int:
    """Return the epoch with the best valid figure, the earliest of equals; 0 before the first.

    Args:
        rows: Of the journal, from 1; from 0 where nothing is trained.
        figure: One of `towers.training.config.FIGURES`.

    Example:
        >>> rows = [{"epoch": 1, "hit@10": 0.2}, {"epoch": 2, "hit@10": 0.3}, {"epoch": 3, "hit@10": 0.3}]
        >>> best_epoch(rows, "hit@10")
        2
    """
    # As float32, by which Lightning keeps the best: what differs less is the same, and the earlier one was kept.
    return max((np.float32(row[figure]), -int(row["epoch"])) for row in rows)[1] * -1 if rows else 0
