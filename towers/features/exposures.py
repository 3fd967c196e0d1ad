"""Every moment at which a user was shown a video, whether they liked it, and what was known of both by then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64

from towers.data import TIME_UNKNOWN, Dataset, Positives, Split
from towers.features.requests import Requests
from towers.types import ConfigError, DataError

OUTCOMES = {"positive", "weight", "split", "time_ms", "position", "user_row", "video_row"}
"""Columns of the events that are no circumstance of an exposure."""
_ENOUGH = 50
"""So many exposures of either outcome, of values that are met again, all with the same outcome, are no chance."""


@dataclass(frozen=True)
class Exposures:
    """Exposures of known time, of videos of which the user had had no positive by then, user by user, oldest first.

    What a repeated video was to somebody who had watched it before is not told by a dataset; they are left out, as
    such videos are left out of what is recommended.

    Attributes:
        user_row: Who, [n].
        video_row: What, [n].
        time_ms: When, UTC, [n].
        split: Part of the protocol, [n].
        liked: Whether it became a positive, [n].
        watched: How many positives the user had strictly before, of known time or not, [n].
        context: Texts of each declared circumstance, None where there is none; [n] each.
    """

    user_row: Int32[np.ndarray, " n"]
    video_row: Int32[np.ndarray, " n"]
    time_ms: Int64[np.ndarray, " n"]
    split: np.ndarray
    liked: Bool[np.ndarray, " n"]
    watched: Int64[np.ndarray, " n"]
    context: dict[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.user_row)

    @classmethod
    def of(cls, dataset: Dataset, context: Sequence[str] = ()) -> "Exposures":
        """Read all exposures of a dataset.

        Args:
            dataset: As `prepare` wrote it.
            context: Columns of the events that were known when the video was shown, such as the place in the app.

        Raises:
            ConfigError: A column of the context is no circumstance, or tells the outcome.
            DataError: A column does not exist, or no event has a time.
        """
        if bad := [name for name in context if name in OUTCOMES]:
            raise ConfigError(
                f"engagement.context has {bad[0]!r}, which is no circumstance of an exposure; "
                "name columns of the log that were known when the video was shown"
            )
        columns = ["user_row", "video_row", "time_ms", "split", "positive"]
        events = dataset.events([*columns, *context])
        user, video, time_ms, split, liked = (events[name] for name in columns)
        timed = time_ms != TIME_UNKNOWN
        if not timed.any():
            raise DataError(
                f"{dataset.folder}: no event has a time, so nobody can say what was known when a video was shown; "
                "prepare with data.columns.time_ms, or leave engagement.fit=false"
            )
        before = np.concatenate([[0], np.cumsum(liked)])
        own = before[first_of_moment(user, time_ms)] - before[np.searchsorted(user, user)]
        kept = timed & ~_liked_before(user, video, liked, len(dataset.videos))
        texts = {name: as_text(events[name])[kept] for name in context}
        if bad := [name for name in context if _tells(texts[name], liked[kept])]:
            raise ConfigError(
                f"engagement.context has {bad[0]!r}, whose values tell of every exposure whether it became a positive; "
                "name columns of the log that were known when the video was shown"
            )
        return cls(user[kept], video[kept], time_ms[kept], split[kept], liked[kept], own[kept], texts)

    def take(self, places: Int64[np.ndarray, " p"]) -> "Exposures":
        """Return the exposures at these places."""
        names = ("user_row", "video_row", "time_ms", "split", "liked", "watched")
        part = {name: getattr(self, name)[places] for name in names}
        return replace(self, **part, context={name: texts[places] for name, texts in self.context.items()})

    def of_split(self, split: Split) -> Int64[np.ndarray, " p"]:
        """Return the places of a split's exposures."""
        return np.flatnonzero(self.split == int(split))

    def requests(self, positives: Positives, window: int) -> Requests:
        """Return what each user asked with at that moment: their newest positives strictly before, and the time.

        Args:
            positives: Of all splits; what came at or after an exposure is not looked at.
            window: At most this many.
        """
        count = np.minimum(self.watched, window)
        step = np.arange(max(1, int(count.max(initial=0))))
        end = positives.offsets[self.user_row] + self.watched
        inside = step < count[:, None]
        place = np.where(inside, (end - count)[:, None] + step, 0)
        if not len(positives):
            nothing = np.zeros(place.shape, np.int64)
            return Requests(nothing, np.full(place.shape, TIME_UNKNOWN), self.time_ms)
        rows = np.where(inside, positives.video_row[place], 0).astype(np.int64)
        return Requests(rows, np.where(inside, positives.time_ms[place], TIME_UNKNOWN), self.time_ms)


def first_of_moment(user: np.ndarray, time_ms: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Return, for events sorted by user and time, the place of the first of the same user and moment, [n].

    Events of unknown time stand for themselves: their order is all that is known.

    Example:
        >>> first_of_moment(np.array([2, 2, 2, 3]), np.array([5, 5, 6, 6])).tolist()
        [0, 0, 2, 3]
    """
    place = np.arange(len(user))
    same = np.zeros(len(user), bool)
    same[1:] = (user[1:] == user[:-1]) & (time_ms[1:] == time_ms[:-1]) & (time_ms[1:] != TIME_UNKNOWN)
    return np.maximum.accumulate(np.where(same, 0, place))


def as_text(column: np.ndarray) -> np.ndarray:
    """Return a column of a log as texts, None where nothing is known; whole numbers are written without a point.

    Example:
        >>> as_text(np.array([1234567.0, np.nan])).tolist(), as_text(np.array([True])).tolist()
        (['1234567', None], ['True'])
    """
    if column.dtype.kind == "f":
        found = np.full(len(column), None, object)
        there = ~np.isnan(column)
        found[there] = [str(int(value)) if value.is_integer() else repr(value) for value in column[there].tolist()]
        return found
    if column.dtype.kind == "O":
        return np.array([None if value is None else str(value) for value in column], object)
    return column.astype(str).astype(object)


def _liked_before(user: np.ndarray, video: np.ndarray, liked: np.ndarray, videos: int) -> Bool[np.ndarray, " n"]:
    """Mark events of a video that was a positive of its user earlier in their order, [n]."""
    pair = user.astype(np.int64) * videos + video
    places = np.flatnonzero(liked)
    first_pair, at = np.unique(pair[places], return_index=True)
    if not len(first_pair):
        return np.zeros(len(user), bool)
    found = np.minimum(np.searchsorted(first_pair, pair), len(first_pair) - 1)
    return (first_pair[found] == pair) & (np.arange(len(user)) > places[at[found]])


def _tells(texts: np.ndarray, liked: Bool[np.ndarray, " n"]) -> bool:
    """Return whether no value is met with both outcomes: so it is what positives are made of, not a circumstance."""
    listed = texts.tolist()
    codes = {text: code for code, text in enumerate(dict.fromkeys(listed))}
    places = np.array([codes[text] for text in listed], np.int64)
    counts = np.bincount(places, minlength=len(codes))
    positives, often = np.bincount(places, liked), counts > 1
    certain = (positives == 0) | (positives == counts)
    enough = min(positives[often].sum(), (counts - positives)[often].sum()) >= _ENOUGH
    return bool(enough and certain[often].all())


def context_values(texts: np.ndarray, least: int, most: int) -> list[str]:
    """Return the texts met at least that often, the most frequent ones where there are too many, sorted."""
    there = texts[np.array([text is not None for text in texts], bool)].astype(str)
    values, counts = np.unique(there, return_counts=True)
    order = np.lexsort((values, -counts))[:most]
    return sorted(str(values[place]) for place in order if counts[place] >= least)


def context_code(texts: np.ndarray, values: Sequence[str]) -> Int64[np.ndarray, " n"]:
    """Return the code of each text: 0 missing, 1 unknown, 2 + i for `values[i]`.

    Example:
        >>> context_code(np.array(["home", None, "new"], object), ["home"]).tolist()
        [2, 0, 1]
    """
    code = {value: place + 2 for place, value in enumerate(values)}
    return np.array([0 if text is None else code.get(text, 1) for text in texts], np.int64)


def finite(numbers: Float32[np.ndarray, "n m"], names: Sequence[str]) -> Float32[np.ndarray, "n m"]:
    """Return the numbers, which must all be finite.

    Raises:
        DataError: One is not.
    """
    bad = np.flatnonzero(~np.isfinite(numbers).all(axis=0))
    if len(bad):
        raise DataError(f"the statistic {names[bad[0]]!r} of an exposure is not finite; look at the events' times")
    return numbers
