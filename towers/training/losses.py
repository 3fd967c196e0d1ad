"""An epoch's losses, read without making a GPU wait."""

from collections import deque
from collections.abc import Callable

import torch
from torch import Tensor

from towers.features import Batch

LATE = 2
"""Steps after which the loss of one that a GPU takes is read: it has then long been working on the next."""


class Losses:
    """Adds up the losses of an epoch and shows each to somebody who judges it.

    On a CPU a loss is judged in its own step, on a GPU `LATE` steps later, with the same batch and number.

    Args:
        judge: Told each loss, its batch and its step; raises where the training cannot go on.
    """

    def __init__(self, judge: Callable[[float, Batch, int], None]) -> None:
        self.judge = judge
        self.clear()

    def clear(self) -> None:
        """Begin an epoch."""
        self.total, self.counted = 0.0, 0
        self._waiting: deque[tuple[Tensor, Batch, int, torch.cuda.Event | None]] = deque()

    def add(self, value: Tensor, batch: Batch, step: int) -> None:
        """Take the loss of a step, a scalar on any device."""
        value, come = value.detach(), None
        if value.is_cuda:
            value, come = value.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
            come.record()
        self._waiting.append((value, batch, step, come))
        self._read(LATE if come else 0)

    def mean(self) -> float:
        """Return the mean over all positions of the epoch so far."""
        self._read(0)
        return self.total / max(1, self.counted)

    def _read(self, left: int) -> None:
        """Read all losses but the newest few."""
        while len(self._waiting) > left:
            value, batch, step, come = self._waiting.popleft()
            if come:
                come.synchronize()
            number = float(value)
            self.judge(number, batch, step)
            self.total += number * batch.positions
            self.counted += batch.positions
