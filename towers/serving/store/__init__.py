"""What happened since the bundle was made: events, histories, and changes of the catalogue."""

from towers.serving.store.memory import MemoryStore
from towers.serving.store.reader import Reader
from towers.serving.store.spool import SpooledStore
from towers.serving.store.sqlite import SqliteStore
from towers.serving.store.states import STORES, MemoryState, RedisState, SqliteState, State
from towers.serving.store.store import (
    Answer,
    Change,
    ChangeKind,
    Event,
    Export,
    Health,
    Id,
    LostChangesError,
    Store,
    StoreAwayError,
    Watched,
    now_ms,
)

__all__ = [
    "STORES",
    "Answer",
    "Change",
    "ChangeKind",
    "Event",
    "Export",
    "Health",
    "Id",
    "LostChangesError",
    "MemoryState",
    "MemoryStore",
    "Reader",
    "RedisState",
    "SpooledStore",
    "SqliteState",
    "SqliteStore",
    "State",
    "Store",
    "StoreAwayError",
    "Watched",
    "now_ms",
]
