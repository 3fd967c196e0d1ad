"""Puts batches together while earlier ones are learned from."""

from collections.abc import Iterator
from queue import Queue
from threading import Event, Thread

import torch

from towers.features import Batch

DEPTH = 4
"""Batches that lie ready, at most."""


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the same batches in the same order, sent to a device by a thread of their own.

    What goes wrong in the thread is raised here, in its turn; the thread ends with the iterator.

    Args:
        batches: To be put together; nothing that they are made of may change meanwhile.
        device: Where they are wanted.
    """
    ready: Queue[Batch | BaseException | None] = Queue(DEPTH)
    over = Event()

    def fill() -> None:
        last: BaseException | None = None
        try:
            for batch in batches:
                if over.is_set():
                    return
                ready.put(batch.to(device))
        except BaseException as error:
            last = error
        ready.put(last)

    thread = Thread(target=fill, name="batches", daemon=True)
    thread.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
    finally:
        over.set()
        while thread.is_alive():
            while not ready.empty():
                ready.get()
            thread.join(0.01)
