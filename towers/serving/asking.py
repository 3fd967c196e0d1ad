"""From what is asked in ids to what it is in rows: whose history is read, and what may not be shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Bool, Int32, Int64

from towers.compiled import entry
from towers.data import TIME_UNKNOWN
from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW
from towers.features import Requests
from towers.index import check_k
from towers.publishing import Bundle
from towers.serving.candidates import Way
from towers.serving.catalogue import Catalogue
from towers.serving.lookup import ANY_IDS, Id, Ids, Known, Lookup, first_times, is_int64, listed, look_up
from towers.types import ConfigError, UnknownIdError

Watched = Ids | Sequence[tuple[Id, int | None]]
"""Videos, or pairs of a video and when it was watched, ms UTC, None where that is not known."""
_NOTHING = np.zeros(0, np.int64)
_ANY_TIME = np.array([TIME_UNKNOWN])


class Unknown(Enum):
    """What to do about ids that the bundle does not hold."""

    cold = "cold"
    """A user is served as new, by the history given or none; videos of a history are left out and counted."""
    refuse = "refuse"
    """Raise UnknownIdError."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What somebody asks for.

    Attributes:
        user_id: Whom to serve; None for somebody without an id.
        k: How many videos.
        exclude: Videos that must not be shown; unknown ones change nothing.
        history: Videos watched, oldest first, or (video, time_ms) pairs, instead of what the bundle knows; what it
            knows stays hidden.
        since: (video, time_ms) pairs, oldest first, beside what the bundle knows; what is in both counts once.
        time_ms: Moment of the request, UTC; None where it does not matter.
        keep_seen: Whether watched videos may be shown again.
        forgotten: Whether what the bundle knows of the user must not be used.

    Raises:
        ConfigError: k below 1, or no whole number.
    """

    user_id: Id | None = None
    k: int = 100
    exclude: Ids = ()
    history: Watched | None = None
    since: Sequence[tuple[Id, int]] = ()
    time_ms: int | None = None
    keep_seen: bool = False
    forgotten: bool = False

    def __post_init__(self) -> None:
        check_k(self.k)


class Asked(NamedTuple):
    """One request in rows.

    Attributes:
        user: Whose, [1].
        history: The events to read.
        history_ms: When they happened.
        hidden: What may not be shown, first of all what was seen; some of it may stand there twice.
        seen: How much of it was seen.
        dropped: How much of the history was left out.
        way: How the answer is found.
    """

    user: Int64[np.ndarray, " 1"]
    history: Int64[np.ndarray, " h"]
    history_ms: Int64[np.ndarray, " h"]
    hidden: Int64[np.ndarray, " n"]
    seen: int
    dropped: int
    way: Way

    def requests(self, time_ms: int | None) -> Requests:
        """Return what the user tower reads."""
        moment = _ANY_TIME if time_ms is None else np.array([time_ms], np.int64)
        return Requests(self.history[None], self.history_ms[None], moment)


class Asking:
    """Turns ids into rows.

    Args:
        users: Rows of users.
        catalogue: Rows of videos.
        bundle: What is known of users, and how the towers read it.
        unknown: What to do about unknown ids.
    """

    def __init__(self, users: Lookup, catalogue: Catalogue, bundle: Bundle, unknown: Unknown) -> None:
        self._users, self._catalogue, self._unknown = users, catalogue, unknown
        self._window, positives = bundle.tower_arrays.window, bundle.positives
        self._once = bundle.reads_once
        self.known, self.when = Known.of(users, catalogue.lookup, positives), np.asarray(positives.time_ms)
        self._look_up = entry(look_up, self.known, UNKNOWN_ROW, ANY_IDS, True)
        self._numbers = users.numbers and catalogue.lookup.numbers

    def users(self, user_ids: Ids) -> Int64[np.ndarray, " n"]:
        """Return the rows of users."""
        if self._unknown is Unknown.refuse:
            return known_rows(self._users, user_ids, "user")
        return self._users.rows(user_ids)

    def rows(self, ask: Ask) -> Asked:
        """Return a request in rows.

        Raises:
            ConfigError: One text in place of a list of ids, or more than one user.
            UnknownIdError: The user, or a video of the history, is unknown and those are refused.
            DataError: Ids of another sort than the bundle's.
        """
        blocked, user_id, asked = ask.exclude, ask.user_id, None
        if type(blocked) is not np.ndarray:
            blocked = listed("exclude", blocked)
        if type(user_id) is int and -(2**63) <= user_id < 2**63 and self._numbers and not ask.forgotten:
            numbers = blocked if is_int64(blocked) else self._catalogue.lookup.array(blocked)
            asked = self.of_user(user_id, numbers, False, ask.keep_seen)
        if asked is None or (asked.user[0] == UNKNOWN_ROW and self._unknown is Unknown.refuse):
            if isinstance(user_id, list | tuple | np.ndarray):
                raise ConfigError(f"user_id is {user_id!r}; give one user, or ask candidates_batch")
            user = UNKNOWN_ROW if user_id is None or ask.forgotten else int(self.users([user_id])[0])
            hidden = self._catalogue.rows(blocked) if len(blocked) else _NOTHING
            asked = self.of_user(user, hidden, True, ask.keep_seen)
        elif self._catalogue.has_new and len(blocked):
            asked.hidden[len(asked.hidden) - len(blocked) :] = self._catalogue.rows(blocked)
        if ask.history is not None:
            asked = self._instead(asked, ask.history, ask.keep_seen)
        return self._beside(asked, ask) if len(ask.since) else asked

    def of_user(self, user: int, blocked: Int64[np.ndarray, " n"], are_rows: bool, keep_seen: bool) -> Asked:
        """Return the request of a user as the bundle knows them; the user and what is blocked by ids or by rows."""
        begin, end, rows = self._look_up(self.known, user, blocked, are_rows)
        asker, hidden, seen = rows[:1], rows[1:], end - begin
        newest = max(0, seen - self._window)
        history, when, way = hidden[newest:seen], self.when[begin + newest : end], _way(asker, seen)
        if keep_seen:
            hidden, seen = hidden[seen:], 0
        return Asked(asker, history, when, hidden, seen, 0, way)

    def _instead(self, asked: Asked, history: Watched, keep_seen: bool) -> Asked:
        """Return the request of a user who has watched something else."""
        given, given_ms = _with_times(history)
        rows, known = self._videos(given)
        events = self._counting((rows[known], given_ms[known]), self.known.watched[:0])
        return _reading(asked, events, rows[known], keep_seen, len(rows) - int(known.sum()))

    def _beside(self, asked: Asked, ask: Ask) -> Asked:
        """Return the request of a user who has watched more."""
        rows, known = self._videos([video for video, _ in ask.since])
        events, when = rows[known], np.array([time_ms for _, time_ms in ask.since], np.int64)[known]
        user = int(asked.user[0])
        begin, end = self.known.offsets[user], self.known.offsets[user + 1]
        before = self.known.watched[begin:end] if ask.history is None else asked.history.astype(np.int32)
        both = _merged((asked.history, asked.history_ms), self._counting((events, when), before))
        dropped = asked.dropped + len(rows) - len(events)
        return _reading(asked, (both[0][-self._window :], both[1][-self._window :]), events, ask.keep_seen, dropped)

    def _counting(self, events: "Events", before: Int32[np.ndarray, " m"]) -> "Events":
        """Return those of some events that the towers read: of a video watched again the first, if training did so."""
        if not self._once:
            return events
        first = first_times(before, events[0])
        return events[0][first], events[1][first]

    def _videos(self, ids: Ids) -> tuple[Int64[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Return the rows of a history's videos, and which of them are known."""
        rows = self._catalogue.rows(ids)
        if self._unknown is Unknown.refuse:
            refuse_unknown(rows, ids, "video", len(self._catalogue.lookup))
        return rows, rows >= FIRST_ROW


def known_rows(lookup: Lookup | Catalogue, ids: Ids, kind: str) -> Int64[np.ndarray, " n"]:
    """Return the rows of ids that must be known; the first that is not is named."""
    rows = lookup.rows(ids)
    refuse_unknown(rows, ids, kind, len(lookup.lookup if isinstance(lookup, Catalogue) else lookup))
    return rows


def refuse_unknown(rows: Int64[np.ndarray, " n"], ids: Ids, kind: str, count: int) -> None:
    """Refuse rows of which one is unknown.

    Raises:
        UnknownIdError: Its id.
    """
    if (rows == UNKNOWN_ROW).any():
        place = int((rows == UNKNOWN_ROW).argmax())
        raise UnknownIdError(
            f"{kind} {ids[place]!r} is not among the bundle's {count} {kind}s; it is mistyped, or newer than the bundle"
        )


Events = tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]
"""Rows of videos and when they were watched, oldest first."""


def _merged(
    some: Events, others: tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]
) -> tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    """Return two histories as one by time, unknown times first, each event once."""
    rows, when = (np.concatenate(both) for both in zip(some, others, strict=True))
    if not len(some[0]) or not len(others[0]) or others[1][0] > some[1][-1]:
        return rows, when
    order = np.argsort(when, kind="stable")
    rows, when = rows[order], when[order]
    _, first = np.unique(np.stack([rows, when]), axis=1, return_index=True)
    kept = np.sort(first)
    return rows[kept], when[kept]


def _reading(asked: Asked, events: Events, more: Int64[np.ndarray, " m"], keep_seen: bool, dropped: int) -> Asked:
    """Return a request with another history and more that was seen."""
    seen = _NOTHING if keep_seen else more
    hidden = np.concatenate([seen, asked.hidden])
    return Asked(asked.user, *events, hidden, len(seen) + asked.seen, dropped, _way(asked.user, len(events[0])))


def _way(user: Int64[np.ndarray, " 1"], events: int) -> Way:
    if events:
        return Way.history
    return Way.new_user if user[0] == UNKNOWN_ROW else Way.features


def _with_times(history: Watched) -> tuple[Ids, Int64[np.ndarray, " n"]]:
    """Return the videos of a history, and when each was watched, TIME_UNKNOWN where that is not said."""
    pairs = [each for each in listed("history", history) if isinstance(each, tuple)]
    if not pairs:
        return cast("Ids", history), np.full(len(history), TIME_UNKNOWN)
    if len(pairs) < len(history):
        raise ConfigError(f"history has {len(pairs)} pairs (video, time_ms) of {len(history)}; expected all or none")
    when = [TIME_UNKNOWN if time_ms is None else time_ms for _, time_ms in pairs]
    return [video for video, _ in pairs], np.array(when, np.int64)
