"""Candidates for users and neighbours of videos, from a bundle."""

from collections.abc import Sequence
from copy import copy
from enum import Enum
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from jaxtyping import Float32, Int64

from towers.compiled import entry
from towers.data import TIME_UNKNOWN
from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW
from towers.features import Requests
from towers.index import Mask
from towers.models import likeness_queries
from towers.publishing import Bundle
from towers.serving.candidates import Candidates, Way
from towers.serving.chosen import Chooser, Where
from towers.serving.lookup import ANY_IDS, Id, Ids, Known, Lookup, listed, look_up
from towers.types import ConfigError, UnknownIdError

Watched = Ids | Sequence[tuple[Id, int | None]]
"""Videos, or pairs of a video and when it was watched, ms UTC, None where that is not known."""
_ANY_TIME = np.array([TIME_UNKNOWN])
_NOTHING = np.zeros(0, np.int64)


class Unknown(Enum):
    """What to do about ids that the bundle does not hold."""

    cold = "cold"
    """A user is served as new, by the history given or none; videos of a history are left out and counted."""
    refuse = "refuse"
    """Raise UnknownIdError."""


class _Asked(NamedTuple):
    """One request in rows.

    Attributes:
        user: Whose.
        history: The events to read.
        history_ms: When they happened.
        hidden: What may not be shown, first of all what was seen; some of it may stand there twice.
        seen: How much of it was seen.
        dropped: How much of the history was left out.
        way: How the answer is found.
    """

    user: int
    history: Int64[np.ndarray, " h"]
    history_ms: Int64[np.ndarray, " h"]
    hidden: Int64[np.ndarray, " n"]
    seen: int
    dropped: int
    way: Way


class Retriever:
    """Answers from one version of a bundle; threads may share it, and processes that open it share its files' pages.

    Attributes:
        bundle: What it answers from.
        unknown: What it does about unknown ids.
    """

    def __init__(self, bundle: Bundle, unknown: Unknown = Unknown.cold) -> None:
        self.bundle, self.unknown = bundle, unknown
        self._towers, self._vectors, self._index = bundle.towers, bundle.vectors, bundle.index
        self._user_tower, self._version = bundle.material.user_tower, bundle.version
        self._users, self._videos, positives = Lookup(bundle.users), Lookup(bundle.videos), bundle.positives
        self._known, self._when = Known.of(self._users, self._videos, positives), np.asarray(positives.time_ms)
        self._look_up = entry(look_up, self._known, UNKNOWN_ROW, ANY_IDS, True)
        self._numbers, self._ids_of = self._users.numbers and self._videos.numbers, bundle.videos.ids_of_known
        self._most, self._chooser = max(1, len(self._index)), Chooser(bundle, self._videos)
        self._allow: Mask | None = None

    @classmethod
    def open(cls, folder: str | Path, unknown: Unknown = Unknown.cold, verify: bool = True) -> "Retriever":
        """Open the current version of a bundle, or the version whose folder is given.

        Args:
            folder: Of a bundle or of one of its versions.
            unknown: What to do about ids that the bundle does not hold.
            verify: Whether to read every byte of it first; see :meth:`towers.publishing.Bundle.open`.

        Raises:
            BundleError: There is no bundle, or it is not as it was published.
        """
        return cls(Bundle.open(folder, verify), unknown)

    def only(self, where: Where | None = None, ids: Ids | None = None) -> "Retriever":
        """Return a retriever that answers with some videos alone; all else is shared, so keep one for each filter.

        What it may answer with is found out at its first answer and remembered as long as it lives. Filters follow each
        other: `retriever.only({"region": "DE"}).without(ids=blocked)`; each step costs a request a pass over a bit for
        each video, unless it is kept.

        Args:
            where: Of each feature the value that a video must have, or several of which any will do; of several
                features all must be suited. The features are the videos' categorical and multi-valued ones.
            ids: The only videos; those that the bundle does not know are left out.

        Raises:
            ConfigError: A feature that there is not, one text in place of a list of ids, or neither where nor ids.
            DataError: Ids of another sort than the bundle's.
        """
        return self._narrowed(self._chooser.mask(where, ids))

    def without(self, where: Where | None = None, ids: Ids | None = None) -> "Retriever":
        """Return a retriever that answers with all videos but those that `only` would leave; see there.

        Raises:
            ConfigError: As `only`; and a value that no video has, which would hide nothing: it is mistyped.
        """
        return self._narrowed(~self._chooser.mask(where, ids, certain=True))

    def embed_users(self, user_ids: Ids) -> Float32[np.ndarray, "n *i d"]:
        """Return the users' vectors at an unknown moment, [n, d]; an unknown user's is that of anybody new.

        Where the towers give each user several, [n, interests, d]: a video's score is the best of them.

        Raises:
            ConfigError: One text in place of a list of ids.
            UnknownIdError: A user is unknown and the retriever refuses those.
        """
        return self._queries(self._user_rows(listed("user_ids", user_ids)))

    def embed_videos(self, video_ids: Ids) -> Float32[np.ndarray, "n d"]:
        """Return the videos' vectors, [n, d].

        Raises:
            ConfigError: One text in place of a list of ids.
            UnknownIdError: A video is unknown: its features are not here, so it has no vector.
        """
        return np.asarray(self._vectors[_known_rows(self._videos, listed("video_ids", video_ids), "video")])

    def candidates(
        self,
        user_id: Id | None = None,
        k: int = 100,
        exclude: Ids = (),
        history: Watched | None = None,
        time_ms: int | None = None,
        keep_seen: bool = False,
    ) -> Candidates:
        """Return the best videos for a user, without those that the user has watched.

        Args:
            user_id: Whom to serve; None for somebody without an id.
            k: How many.
            exclude: Videos that must not be shown; unknown ones change nothing.
            history: Videos watched, oldest first, or (video, time_ms) pairs, instead of what the bundle knows; what
                it knows stays hidden.
            time_ms: Moment of the request, UTC; None where it does not matter.
            keep_seen: Whether watched videos may be shown again.

        Raises:
            ConfigError: k below 1, one text in place of a list of ids, or a history of which some have a time.
            UnknownIdError: The user, or a video of the history, is unknown and the retriever refuses those.
            DataError: Ids of another sort than the bundle's, strings for int64 or the other way round.
        """
        asked = self._ask(user_id, history, exclude, keep_seen)
        moment = _ANY_TIME if time_ms is None else np.array([time_ms], np.int64)
        requests = Requests(asked.history[None], asked.history_ms[None], moment)
        return self._answers(self._user_tower.queries(requests, np.array([asked.user])), k, [asked])[0]

    def candidates_batch(self, user_ids: Ids, k: int = 100, keep_seen: bool = False) -> list[Candidates]:
        """Return what candidates would return for each user, found together.

        Raises:
            ConfigError: k below 1, or one text in place of a list of ids.
            UnknownIdError: A user is unknown and the retriever refuses those.
        """
        rows = self._user_rows(listed("user_ids", user_ids))
        asked = [self._of_user(row, _NOTHING, True, keep_seen) for row in rows.tolist()]
        return self._answers(self._queries(rows), k, asked)

    def similar(self, video_id: Id, k: int = 10) -> Candidates:
        """Return the videos whose vectors have the highest inner product with a video's, itself left out.

        How popular they are counts for nothing.

        Raises:
            ConfigError: k below 1.
            UnknownIdError: The video is unknown.
        """
        rows = _known_rows(self._videos, [video_id], "video")
        asked = _Asked(UNKNOWN_ROW, rows[:0], rows[:0], rows, 0, 0, Way.video)
        return self._answers(likeness_queries(self._towers, self._vectors[rows]), k, [asked])[0]

    def _narrowed(self, mask: Mask) -> "Retriever":
        other = copy(self)
        other._allow = mask if self._allow is None else self._allow & mask
        return other

    def _user_rows(self, user_ids: Ids) -> Int64[np.ndarray, " n"]:
        if self.unknown is Unknown.refuse:
            return _known_rows(self._users, user_ids, "user")
        return self._users.rows(user_ids)

    def _queries(self, users: Int64[np.ndarray, " q"]) -> Float32[np.ndarray, "q *i d"]:
        """Return the vectors of users as the bundle knows them."""
        requests = Requests.of(self._known.offsets, self._known.watched, self._when, users, self._towers.window)
        return self._user_tower.queries(requests, users)

    def _ask(self, user_id: Id | None, history: Watched | None, exclude: Ids, keep_seen: bool) -> _Asked:
        """Return a request in rows."""
        blocked, asked = listed("exclude", exclude), None
        if type(user_id) is int and -(2**63) <= user_id < 2**63 and self._numbers:
            asked = self._of_user(user_id, self._videos.array(blocked), False, keep_seen)
        if asked is None or (asked.user == UNKNOWN_ROW and self.unknown is Unknown.refuse):
            if isinstance(user_id, list | tuple | np.ndarray):
                raise ConfigError(f"user_id is {user_id!r}; give one user, or ask candidates_batch")
            user = UNKNOWN_ROW if user_id is None else int(self._user_rows([user_id])[0])
            asked = self._of_user(user, self._videos.rows(blocked) if len(blocked) else _NOTHING, True, keep_seen)
        return asked if history is None else self._watching(asked, history, keep_seen)

    def _of_user(self, user: int, blocked: Int64[np.ndarray, " n"], are_rows: bool, keep_seen: bool) -> _Asked:
        """Return the request of a user as the bundle knows them; the user and what is blocked by ids or by rows."""
        row, begin, end, rows = self._look_up(self._known, user, blocked, are_rows)
        count = end - begin
        newest = max(0, count - self._towers.window)
        hidden, seen = (rows[count:], 0) if keep_seen else (rows, count)
        return _Asked(row, rows[newest:count], self._when[begin + newest : end], hidden, seen, 0, _way(row, count))

    def _watching(self, asked: _Asked, history: Watched, keep_seen: bool) -> _Asked:
        """Return the request of a user who has watched something else."""
        given, given_ms = _with_times(history)
        rows = self._history_rows(given)
        known = rows >= FIRST_ROW
        events = rows[known]
        seen = _NOTHING if keep_seen else events
        return _Asked(
            *(asked.user, events, given_ms[known], np.concatenate([seen, asked.hidden]), len(seen) + asked.seen),
            *(len(rows) - len(events), _way(asked.user, len(events))),
        )

    def _history_rows(self, history: Ids) -> Int64[np.ndarray, " n"]:
        if self.unknown is Unknown.refuse:
            return _known_rows(self._videos, history, "video")
        return self._videos.rows(history)

    def _answers(self, queries: Float32[np.ndarray, "q *i d"], k: int, asked: list[_Asked]) -> list[Candidates]:
        hits = self._index.search(queries, min(k, self._most), [each.hidden for each in asked], self._allow)
        return [self._answer(hits.ids[place], hits.scores[place], k, each) for place, each in enumerate(asked)]

    def _answer(
        self, rows: Int64[np.ndarray, " n"], scores: Float32[np.ndarray, " n"], k: int, asked: _Asked
    ) -> Candidates:
        """Return a row of hits without its empty slots, which come last."""
        found = len(rows) if rows[-1] >= 0 else int(np.count_nonzero(rows >= 0))
        rows, scores = rows[:found], scores[:found]
        why = self._why_short(k, found, asked) if found < k else ""
        return Candidates(self._ids_of(rows), scores, asked.way, why, asked.dropped, self._version)

    def _why_short(self, k: int, found: int, asked: _Asked) -> str:
        seen, hidden = (self._may(np.unique(rows)) for rows in (asked.hidden[: asked.seen], asked.hidden))
        itself = "the video itself" if asked.way is Way.video and hidden else f"{hidden - seen} excluded"
        videos = f"{len(self._index)} videos"
        if self._allow is not None:
            videos += f" {found + hidden} may be shown, of which"
        return f"asked for {k}; of {videos} {seen} are seen and {itself}, {found} are left"

    def _may(self, rows: Int64[np.ndarray, " n"]) -> int:
        """Return how many rows are videos that may be shown but for being hidden."""
        rows = rows[rows >= FIRST_ROW]
        return len(rows) if self._allow is None else int(self._allow.holds(rows).sum())


def _way(user: int, events: int) -> Way:
    if events:
        return Way.history
    return Way.new_user if user == UNKNOWN_ROW else Way.features


def _with_times(history: Watched) -> tuple[Ids, Int64[np.ndarray, " n"]]:
    """Return the videos of a history, and when each was watched, TIME_UNKNOWN where that is not said."""
    pairs = [each for each in history if isinstance(each, tuple)]
    if not pairs:
        return listed("history", cast("Ids", history)), np.full(len(history), TIME_UNKNOWN)
    if len(pairs) < len(history):
        raise ConfigError(f"history has {len(pairs)} pairs (video, time_ms) of {len(history)}; expected all or none")
    when = [TIME_UNKNOWN if time_ms is None else time_ms for _, time_ms in pairs]
    return [video for video, _ in pairs], np.array(when, np.int64)


def _known_rows(lookup: Lookup, ids: Ids, kind: str) -> Int64[np.ndarray, " n"]:
    """Return the rows of ids that must be known; the first that is not is named."""
    rows = lookup.rows(ids)
    if (rows == UNKNOWN_ROW).any():
        place = int((rows == UNKNOWN_ROW).argmax())
        raise UnknownIdError(
            f"{kind} {ids[place]!r} is not among the bundle's {len(lookup)} {kind}s; "
            "it is mistyped, or newer than the bundle"
        )
    return rows
