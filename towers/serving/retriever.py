"""Candidates for users and neighbours of videos, from a bundle."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from towers.data import TIME_UNKNOWN
from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW
from towers.features import Requests
from towers.index import Mask, check_k
from towers.publishing import Bundle
from towers.serving.asking import Ask, Asked, Asking, Unknown, Watched, known_rows
from towers.serving.candidates import Candidates, Way
from towers.serving.catalogue import Catalogue
from towers.serving.chosen import Chooser, Where
from towers.serving.lookup import Id, Ids, Lookup, listed
from towers.types import UnknownIdError

_NOTHING, _NOBODY = np.zeros(0, np.int64), np.array([UNKNOWN_ROW])
_FEW = 1000
"""For so many candidates a search may make room, however few there are."""


class Retriever:
    """Answers from one version of a bundle; threads may share it, and processes that open it share its files' pages.

    Attributes:
        bundle: What it answers from.
        unknown: What it does about unknown ids.
        chooser: Says which videos have which values of which features.
    """

    def __init__(self, bundle: Bundle, unknown: Unknown = Unknown.cold, catalogue: Catalogue | None = None) -> None:
        """Answer from a bundle; with a catalogue that lives, from what it holds by then."""
        self.bundle, self.unknown, self._catalogue = bundle, unknown, catalogue or Catalogue(bundle)
        self._towers, self._user_tower, self._version = bundle.tower_arrays, bundle.material.user_tower, bundle.version
        self._asking = Asking(Lookup(bundle.users), self._catalogue, bundle, unknown)
        self.chooser = Chooser(bundle, self._catalogue)
        self._allow: Mask | None = None

    def __repr__(self) -> str:
        """Say what it answers from: `Retriever(7,583 videos of version 0001-1f6c2ab8)`."""
        some = "" if self._allow is None else "some of "
        videos = len(self.bundle.videos) - UNKNOWN_ROW - 1
        return f"{type(self).__name__}({some}{videos:,} videos of version {self._version})"

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
        return self._narrowed(self.chooser.mask(where, ids))

    def without(self, where: Where | None = None, ids: Ids | None = None, *, strict: bool = True) -> "Retriever":
        """Return a retriever that answers with all videos but those that `only` would leave; see there.

        Args:
            where: As of `only`.
            ids: As of `only`.
            strict: Whether to refuse a value that no video has, which would hide nothing: it may be mistyped.

        Raises:
            ConfigError: As `only`; and such a value.
        """
        return self._narrowed(~self.chooser.mask(where, ids, certain=strict))

    def embed_users(self, user_ids: Ids) -> Float32[np.ndarray, "n *i d"]:
        """Return the users' vectors at an unknown moment, [n, d]; an unknown user's is that of anybody new.

        Where the towers give each user several, [n, interests, d]: a video's score is the best of them.

        Raises:
            ConfigError: One text in place of a list of ids.
            UnknownIdError: A user is unknown and the retriever refuses those.
        """
        return self._queries(self._asking.users(listed("user_ids", user_ids)))

    def embed_nobody(self) -> Float32[np.ndarray, "*i d"]:
        """Return the vector of anybody new, [d], or [interests, d]."""
        return self._queries(_NOBODY)[0]

    def may_show(self, rows: Int64[np.ndarray, " n"], ask: Ask) -> Int64[np.ndarray, " m"]:
        """Return those of some videos' rows that an answer may hold, in their order, [m].

        Args:
            rows: Of videos that are held, [n].
            ask: Whose history and exclusions count; a retriever's own filter does, too.

        Raises:
            ConfigError: As candidates.
            DataError: As candidates.
        """
        may = ~np.isin(rows, self._asking.rows(ask).hidden)
        return rows[may if self._allow is None else may & self._allow.holds(rows)]

    def embed_videos(self, video_ids: Ids) -> Float32[np.ndarray, "n d"]:
        """Return the videos' vectors, [n, d].

        Raises:
            ConfigError: One text in place of a list of ids.
            UnknownIdError: A video is unknown: its features are not here, so it has no vector.
        """
        return self._catalogue.vectors_of(known_rows(self._catalogue, listed("video_ids", video_ids), "video"))

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
        ask = Ask(user_id, k, exclude, history=history, time_ms=time_ms, keep_seen=keep_seen)
        return self.answer(ask)

    def answer(self, ask: Ask) -> Candidates:
        """Return the best videos for what is asked; see candidates.

        Raises:
            ConfigError: As candidates.
            UnknownIdError: As candidates.
            DataError: As candidates.
        """
        asked = self._asking.rows(ask)
        queries = self._read(asked.requests(ask.time_ms), asked.user)
        return self._alone(queries, ask.k, asked)

    def answers(self, asks: Sequence[Ask]) -> list[Candidates]:
        """Return what `answer` would return for each, found together: up to 64 cost a fraction of as many alone.

        Raises:
            ConfigError: As candidates, for any of them; then none is answered.
            UnknownIdError: The same.
            DataError: The same.
        """
        asked = [self._asking.rows(ask) for ask in asks]
        longest = max(len(each.history) for each in asked)
        history, when = np.zeros((len(asks), longest), np.int64), np.full((len(asks), longest), TIME_UNKNOWN)
        for row, each in enumerate(asked):
            history[row, : len(each.history)], when[row, : len(each.history)] = each.history, each.history_ms
        moments = np.array([TIME_UNKNOWN if ask.time_ms is None else ask.time_ms for ask in asks], np.int64)
        queries = self._read(Requests(history, when, moments), np.concatenate([each.user for each in asked]))
        found = self._answers(queries, max(ask.k for ask in asks), asked)
        return [self._first(ask.k, each, of) for ask, each, of in zip(asks, found, asked, strict=True)]

    def candidates_batch(self, user_ids: Ids, k: int = 100, keep_seen: bool = False) -> list[Candidates]:
        """Return what candidates would return for each user, found together.

        Raises:
            ConfigError: k below 1, or one text in place of a list of ids.
            UnknownIdError: A user is unknown and the retriever refuses those.
        """
        rows = self._asking.users(listed("user_ids", user_ids))
        asked = [self._asking.of_user(row, _NOTHING, True, keep_seen) for row in rows.tolist()]
        return self._answers(self._queries(rows), k, asked)

    def similar(self, video_id: Id, k: int = 10) -> Candidates:
        """Return the videos whose vectors have the highest inner product with a video's, itself left out.

        How popular they are counts for nothing.

        Raises:
            ConfigError: k below 1.
            UnknownIdError: The video is unknown, or was removed.
        """
        rows = known_rows(self._catalogue, [video_id], "video")
        if not self._catalogue.shows(int(rows[0])):
            raise UnknownIdError(f"video {video_id} was removed")
        asked = Asked(_NOBODY, _NOTHING, _NOTHING, rows, 0, 0, Way.video)
        return self._alone(self._towers.likeness_queries(self._catalogue.vectors_of(rows)), k, asked)

    def _narrowed(self, mask: Mask) -> "Retriever":
        other = copy(self)
        other._allow = mask if self._allow is None else self._allow & mask
        return other

    def _queries(self, users: Int64[np.ndarray, " q"]) -> Float32[np.ndarray, "q *i d"]:
        """Return the vectors of users as the bundle knows them."""
        known = self._asking.known
        requests = Requests.of(known.offsets, known.watched, self._asking.when, users, self._towers.window)
        return self._user_tower.queries(requests, users)

    def _read(self, requests: Requests, users: Int64[np.ndarray, " q"]) -> Float32[np.ndarray, "q *i d"]:
        """Return the vectors of users who have watched what requests say."""
        history = requests.history
        if not self._catalogue.has_new or history.max(initial=0) < self._catalogue.first_new:
            return self._user_tower.queries(requests, users)
        # By a table of their own, in which row 0 pads.
        rows, places = np.unique(np.append(history, 0), return_inverse=True)
        vectors = self._catalogue.vectors_of(rows)
        return self._user_tower.queries(replace(requests, history=places[:-1].reshape(history.shape)), users, vectors)

    def _first(self, k: int, found: Candidates, asked: Asked) -> Candidates:
        """Return the best k of as many or more."""
        if len(found) == k and not found.short_because:
            return found
        if len(found) >= k:
            return replace(found, ids=found.ids[:k], scores=found.scores[:k], short_because="")
        return replace(found, short_because=self._why_short(k, len(found), asked))

    def _answers(self, queries: Float32[np.ndarray, "q *i d"], k: int, asked: list[Asked]) -> list[Candidates]:
        hits = self._catalogue.index.search(queries, self._most(k), [each.hidden for each in asked], self._allow)
        return [self._answer(hits.ids[place], hits.scores[place], k, each) for place, each in enumerate(asked)]

    def _alone(self, query: Float32[np.ndarray, "1 *i d"], k: int, asked: Asked) -> Candidates:
        """Return what `_answers` would for one; every step less counts, as the search has left none near the core."""
        most = k if type(k) is int and k <= _FEW else self._most(k)
        hits = self._catalogue.index.search(query, most, [asked.hidden], self._allow)
        return self._answer(hits.ids[0], hits.scores[0], k, asked)

    def _most(self, k: int) -> int:
        """Return k, or how many videos there are where these are fewer: a search makes room for all it is asked for."""
        check_k(k)
        return min(k, max(1, len(self._catalogue.index)))

    def _answer(
        self, rows: Int64[np.ndarray, " n"], scores: Float32[np.ndarray, " n"], k: int, asked: Asked
    ) -> Candidates:
        """Return a row of hits without its empty slots, which come last."""
        if rows[-1] < 0:
            found = int(np.count_nonzero(rows >= 0))
            rows, scores = rows[:found], scores[:found]
        why = "" if len(rows) >= k else self._why_short(k, len(rows), asked)
        return Candidates(self._catalogue.ids_of(rows), scores, asked.way, why, asked.dropped, self._version)

    def _why_short(self, k: int, found: int, asked: Asked) -> str:
        seen, hidden = (self._may(np.unique(rows)) for rows in (asked.hidden[: asked.seen], asked.hidden))
        itself = "the video itself" if asked.way is Way.video and hidden else f"{hidden - seen} excluded"
        videos = f"{len(self._catalogue.index)} videos"
        if self._allow is not None:
            videos += f" {found + hidden} may be shown, of which"
        return f"asked for {k}; of {videos} {seen} are seen and {itself}, {found} are left"

    def _may(self, rows: Int64[np.ndarray, " n"]) -> int:
        """Return how many rows are videos that may be shown but for being hidden."""
        rows = rows[rows >= FIRST_ROW]
        return len(rows) if self._allow is None else int(self._allow.holds(rows).sum())
