"""Stands in for a process of a training and kills one at a given moment; see test_processes."""

import os
import signal
import threading
from datetime import timedelta

from towers.training import launch, ranks
from towers.training.journal import Journal


def work() -> None:
    """Train like the others, until SABOTAGE, "RANK EPOCH self|parent SIGNAL", says whom to kill, and then hang."""
    rank, epoch, victim, how = os.environ["SABOTAGE"].split()
    ranks.PATIENCE = timedelta(seconds=float(os.environ.get("PATIENCE_S", ranks.PATIENCE.total_seconds())))
    add = Journal.add

    def add_and_kill(self: Journal, number: int, loss: float, valid: dict[str, float]) -> None:
        add(self, number, loss, valid)
        if os.environ["RANK"] == rank and number == int(epoch):
            os.kill(os.getppid() if victim == "parent" else os.getpid(), signal.Signals[how])
            threading.Event().wait()

    Journal.add = add_and_kill  # type: ignore[method-assign,assignment]
    launch.work()
