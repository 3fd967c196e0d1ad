"""Which stores there are, as options."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from towers.lazy import worded
from towers.serving.store.memory import MemoryStore
from towers.serving.store.spool import SpooledStore
from towers.serving.store.sqlite import SqliteStore
from towers.serving.store.store import Store
from towers.types import ConfigError


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


@dataclass(kw_only=True)
class RedisState(State):
    """A Redis server or cluster that several machines share, with what waits for it kept here while it is away.

    Recommendation: where more than one machine serves. What is acknowledged is as durable as the server's own
    settings make it: `appendonly yes`, and `appendfsync always` to lose nothing when power is lost.

    Attributes:
        url: As redis://user:password@host:6379/0, rediss://… or unix://path; for a cluster any of its nodes.
        prefix: Begins every key, so that several apps can share a server.
        timeout_ms: How long an answer is waited for.
        parts: Over how many slots users are spread; it cannot be changed later.
        cluster: Whether the url is of a cluster.
        spool: The file on this machine, of one process alone, that keeps what comes while Redis is away; empty to
            refuse it.
    """

    url: str = "redis://localhost:6379/0"
    prefix: str = "towers"
    timeout_ms: int = 500
    parts: int = 16
    cluster: bool = False
    spool: str = "runs/spool.db"

    def __post_init__(self) -> None:
        if not self.url.startswith(("redis://", "rediss://", "unix://")):
            shown = f"…@{self.url.rpartition('@')[2]}" if "@" in self.url else self.url  # never a password
            raise ConfigError(f"store.url is {shown!r}; expected redis://HOST:6379/0, rediss://… or unix://PATH")

    def make(self) -> Store:
        """Return the store, not yet open."""
        try:
            from towers.serving.store.redis import RedisStore
        except ModuleNotFoundError as error:
            raise worded("store=redis", error) from error
        store = RedisStore(
            self.url, self.longest, self.prefix, timeout_ms=self.timeout_ms, parts=self.parts, cluster=self.cluster
        )
        return SpooledStore(store, self.spool) if self.spool else store


STORES: dict[str, type[State]] = {"sqlite": SqliteState, "redis": RedisState, "memory": MemoryState}
