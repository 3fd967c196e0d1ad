"""The processes that share a training: how they meet, agree and learn that one of them is gone."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from pytorch_lightning.plugins.environments import TorchElasticEnvironment  # type: ignore[attr-defined]
from pytorch_lightning.strategies import DDPStrategy, Strategy
from torch import distributed

from towers.types import ConfigError, RunError, TowersError

T = TypeVar("T")
PATIENCE = timedelta(minutes=10)
"""How long a process waits for another that is there but does not answer; of one that ends it hears at once."""


class LostError(RunError):
    """Another process is gone; what it died of is more worth telling than this."""


@dataclass(frozen=True)
class Ranks:
    """Which of the processes of a training this one is.

    Attributes:
        rank: Place among all, from 0.
        count: How many there are.
        here: How many of them are on this machine.
        met: Whether they are a group of torch.distributed; one process alone need not be one.
    """

    rank: int = 0
    count: int = 1
    here: int = 1
    met: bool = False

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Return everybody's value, by rank."""
        values: list[T] = [value] * self.count
        if self.met:
            distributed.all_gather_object(values, value)
        return values

    def once(self, action: Callable[[], T]) -> T | None:
        """Let the first process do something, and the others wait; only the first gets what it returns.

        Raises:
            TowersError: What the action raised, in every process.
        """
        result, failure = None, None
        if self.first:
            try:
                result = action()
            except TowersError as error:
                failure = error
        if failure := self.gather(failure)[0]:
            raise failure
        return result

    def same(self, value: T, name: str) -> T:
        """Return a value that all processes must find alike.

        Args:
            value: As this process finds it.
            name: What it is, for the error.

        Raises:
            RunError: They do not.
        """
        told = self.gather((value, socket.gethostname()))
        for rank, (other, host) in enumerate(told):
            if other != told[0][0]:
                raise RunError(
                    f"process {rank} on {host} finds {name} to be {other}, process 0 on {told[0][1]} {told[0][0]}; "
                    "several machines need one run folder that all can see, and equal datasets"
                )
        return value


def strategy_of(ranks: Ranks) -> Strategy | str:
    """Return Lightning's word for how these processes share the work."""
    if not ranks.met:
        return "auto"
    # What the towers keep beside weights never changes; sending it round at every step would be for nothing.
    return DDPStrategy(
        cluster_environment=TorchElasticEnvironment(), broadcast_buffers=False, gradient_as_bucket_view=True
    )


def launched() -> bool:
    """Say whether torchrun has started this process, or a process of ours that stands in for it."""
    return {"RANK", "WORLD_SIZE"} <= os.environ.keys()


@contextmanager
def joined(devices: int) -> Iterator[Ranks]:
    """Meet the other processes, if there are any, and part at the end of the block.

    Args:
        devices: What `trainer.devices` says.

    Raises:
        ConfigError: torchrun has started another number of processes.
        LostError: Another process ended within the block, or was silent for too long.
    """
    if not launched():
        yield Ranks()
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if devices not in {1, here}:
        raise ConfigError(f"trainer.devices is {devices}, and torchrun has started {here} processes; leave it out")
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    ranks = Ranks(distributed.get_rank(), distributed.get_world_size(), here, met=True)
    try:
        yield ranks
    except RuntimeError as error:  # what gloo and NCCL raise where a connection breaks, or nothing comes
        if not isinstance(error, distributed.DistError) and not re.search("onnection|[Tt]imed out", str(error)):
            raise
        reason = re.sub(r"^\[/.*?\] ", "", str(error)).partition(". ")[0]
        raise LostError(
            f"process {ranks.rank} has lost another process of this training ({reason}); "
            "look at what the others say; the same command goes on after the last whole epoch"
        ) from error
    finally:
        distributed.destroy_process_group()
