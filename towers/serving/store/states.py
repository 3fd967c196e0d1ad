"""Which stores there are, as options."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from towers.serving.store.memory import MemoryStore
from towers.serving.store.sqlite import SqliteStore
from towers.serving.store.store import Store


@dataclass(kw_only=True)
class State(ABC):
    """What every store is made from.

    Attributes:
        longest: How many positives of a user are kept as history.
    """

    longest: int = 1000

    @abstractmethod
    def make(self) -> Store:
        """Return the store, not yet open."""


@dataclass(kw_only=True)
class MemoryState(State):
    """Nothing outlives the process: for trials.

    Recommendation: only to look; the first restart forgets every user and every deletion.
    """

    def make(self) -> Store:
        """Return the store, not yet open."""
        return MemoryStore(self.longest)


@dataclass(kw_only=True)
class SqliteState(State):
    """A file of this machine.

    Recommendation: the default, up to what one machine serves.

    Attributes:
        path: The file, on a local disk; it is made where there is none.
    """

    path: str = "runs/state.db"

    def make(self) -> Store:
        """Return the store, not yet open."""
        return SqliteStore(self.path, self.longest)


STORES: dict[str, type[State]] = {"sqlite": SqliteState, "memory": MemoryState}
