"""Training: the Lightning module, its data and the run that survives being killed."""

from towers.training.config import Accelerator, OptimConfig, Schedule, TrainConfig
from towers.training.train import describe, train

__all__ = ["Accelerator", "OptimConfig", "Schedule", "TrainConfig", "describe", "train"]
