"""Training: the Lightning module, its data and the run that survives being killed."""

from importlib import import_module
from typing import TYPE_CHECKING

from towers.training.config import Accelerator, OptimConfig, Schedule, TrainConfig

if TYPE_CHECKING:
    from towers.training.training import describe, train

__all__ = ["Accelerator", "OptimConfig", "Schedule", "TrainConfig", "describe", "train"]


def __getattr__(name: str) -> object:
    """Import what trains when it is first used: Lightning takes seconds, and `towers train --help` needs none of it."""
    if name not in {"describe", "train"}:
        raise AttributeError(f"module 'towers.training' has no attribute {name!r}")
    value: object = getattr(import_module("towers.training.training"), name)
    globals()[name] = value
    return value
