"""The contract of a store: what is durable, what is remembered of a user, and in which order changes come."""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from towers.types import ConfigError, DataError, TowersError

Id = int | str
Watched = list[tuple[Id, int]]
"""Videos and when they were watched, ms UTC, oldest first; at one moment in the order in which they came."""
LATEST_MS = 2**53
"""No time is later or, below zero, earlier: up to here a double, which sorts Redis's sets, tells each ms apart."""


class StoreAwayError(TowersError):
    """The store cannot be reached or refuses to write; nothing of the call was acknowledged."""


class LostChangesError(TowersError):
    """The store has lost changes that somebody knows, as when it is of a copy of before."""


def now_ms() -> int:
    """Return the time by this machine's clock, ms UTC."""
    return time.time_ns() // 1_000_000


def refuse_lost(after: int, last: int) -> None:
    """Raise LostChangesError where the last change that there is has a lower number."""
    if last < after:
        raise LostChangesError(f"the store has changes up to number {last}, and {after} of them are known here")


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A user met a video.

    Raises:
        DataError: An id that is empty, a number beyond 64 bits or no text, or a time that no store can sort by.

    Attributes:
        event_id: What tells it from all others of the user; one that comes again changes nothing as long as the first
            is kept, see Store.forget_before.
        user_id: Who.
        video_id: Which.
        time_ms: When, UTC.
        positive: Whether it counts as watched: it is read as history, and the video is not shown again.
        labels: What else is known, such as watch_ms.
        request_id: Of the answer that the video was shown from; empty where that is not known.
    """

    event_id: str
    user_id: Id
    video_id: Id
    time_ms: int
    positive: bool = True
    labels: dict[str, float | int | str | bool | None] = {}
    request_id: str = ""

    def __post_init__(self) -> None:
        _check(self.time_ms, event_id=self.event_id, user_id=self.user_id, video_id=self.video_id)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was shown: kept so that what came back can be joined to it.

    Raises:
        DataError: As of an Event.

    Attributes:
        request_id: Of the request; one that comes again for the user changes nothing.
        user_id: Whom it was for; None for somebody without an id.
        time_ms: When, UTC.
        path: How it was found.
        bundle_version: Which version answered.
        video_ids: What was answered, best first.
    """

    request_id: str
    user_id: Id | None
    time_ms: int
    path: str
    bundle_version: str
    video_ids: list[Id]

    def __post_init__(self) -> None:
        _check(self.time_ms, request_id=self.request_id, user_id=0 if self.user_id is None else self.user_id)


class ChangeKind(StrEnum):
    """What a change does."""

    put = "put"
    """A video is there from now on, with these features; it replaces what was known of it."""
    remove = "remove"
    """A video is not shown any more."""
    erase = "erase"
    """A user is forgotten: also what bundles know of them is not used, whose log ends before."""


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change that all who serve must know, whoever took it in.

    Raises:
        DataError: As of an Event.

    Attributes:
        kind: What it does.
        id: Of the video or the user.
        time_ms: When it was asked for, UTC.
        features: Of a video that is put.
        number: Its place in the order of all changes, from 1; the store gives it.
    """

    kind: ChangeKind
    id: Id
    time_ms: int
    features: dict[str, Any] = {}
    number: int = 0

    def __post_init__(self) -> None:
        _check(self.time_ms, id=self.id)


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """All that a store knows of a user.

    Attributes:
        events: In the order in which they came; those that are still kept, see Store.forget_before.
        history: What their next answer is made from.
        answers: What they were shown.
    """

    events: list[Event]
    history: Watched
    answers: list[Answer]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a store does.

    Attributes:
        away: Why it cannot be reached; empty where it can.
        waiting: How many events and answers are kept elsewhere, to be brought to it.
    """

    away: str = ""
    waiting: int = 0


class Store(ABC):
    """Keeps events, histories and changes. All methods may be called at once from tasks of one event loop.

    A history holds the `longest` newest positives of a user by time, each event once, also when events come late or
    twice. Of events of the same user that come at the same moment through several connections or processes none is
    lost. Ids 7 and "7" are different.

    Args:
        longest: How many positives of a user are kept as history.

    Raises:
        ConfigError: A `longest` below 1.
    """

    def __init__(self, longest: int = 1000) -> None:
        if longest < 1:
            raise ConfigError(f"longest is {longest}; keep at least 1 positive of a user")
        self.longest = longest

    @property
    def away(self) -> str:
        """Why histories are of before, as far as is known; empty where they are of now."""
        return ""

    @abstractmethod
    async def open(self) -> None:
        """Get ready.

        Raises:
            StoreAwayError: It cannot be reached.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun, and let go."""

    @abstractmethod
    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events; on return they are durable, and in the next history.

        Returns:
            For each whether it was new; within one call the first of the same event_id is.

        Raises:
            StoreAwayError: None of them was acknowledged; those that came nevertheless are not new the next time.
        """

    @abstractmethod
    async def history(self, user_id: Id) -> Watched:
        """Return a user's newest positives, oldest first.

        Raises:
            StoreAwayError: It cannot be reached.
        """

    @abstractmethod
    async def change(self, changes: Sequence[Change]) -> int:
        """Keep changes, durable on return; return the number of the last. One that erases forgets the user here too.

        Raises:
            StoreAwayError: None of them was acknowledged.
        """

    @abstractmethod
    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        """Return changes with numbers above `after` in order, without gaps; of an id only its last may be left.

        Raises:
            StoreAwayError: It cannot be reached.
            LostChangesError: Its last change has a number below `after`.
        """

    @abstractmethod
    async def answered(self, answers: Sequence[Answer]) -> None:
        """Keep what was shown.

        Raises:
            StoreAwayError: It cannot be reached.
        """

    @abstractmethod
    async def log(self, after: str = "", most: int = 1000) -> tuple[list[Event | Answer], str]:
        """Return what came after a mark and was not dropped, in the order in which it came, and the mark to go on from.

        Raises:
            StoreAwayError: It cannot be reached.
            DataError: A mark that is not of this store.
        """

    async def now_ms(self) -> int:
        """Return the time by the clock by which the store says when things came, ms UTC.

        Raises:
            StoreAwayError: It cannot be reached.
        """
        return now_ms()

    @abstractmethod
    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        """Drop events and answers that came to the store before a moment; return how many.

        When they came counts, by the store's own clock, not when they happened: what is told late stays as long as
        what is told at once. Histories stay, which are bounded anyway. An event that comes again after it was dropped
        is new, and counts again.

        Args:
            time_ms: The moment, UTC.
            most: How many are dropped in this call, so that nobody waits long for it.

        Raises:
            StoreAwayError: It cannot be reached; some may have been dropped.
        """

    @abstractmethod
    async def export(self, user_id: Id) -> Export:
        """Return all that is known of a user.

        Raises:
            StoreAwayError: It cannot be reached.
        """

    @abstractmethod
    async def health(self) -> Health:
        """Return how it does; raises nothing."""


def _check(time_ms: int, **ids: Id) -> None:
    for name, value in ids.items():
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                raise DataError(f"{name} is {value}; a number must fit into 64 bits; give it as a text")
        elif not value:
            raise DataError(f"{name} is empty; give one")
        elif not (value.isascii() or _is_text(value)):
            raise DataError(f"{name} is {value!r}, which has half of a character; give a text that UTF-8 can write")
    if not -LATEST_MS <= time_ms <= LATEST_MS:
        raise DataError(f"time_ms is {time_ms}; it is beyond ±2^53; give ms since 1970, UTC")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
