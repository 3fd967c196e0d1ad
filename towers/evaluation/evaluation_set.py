"""Who is asked, what they had watched by then and what they went on to watch, as arrays."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int32, Int64

from towers.data import Dataset, Positives, Split
from towers.metrics import ranking
from towers.types import DataError

FIRST_ROW = 2
"""Video rows 0 (padding) and 1 (unknown) are not part of the catalogue."""
USERS_AT_ONCE = 65_536


@dataclass(frozen=True)
class EvaluationSet:
    """Users with something to find in a split, in the order of their ids.

    Attributes:
        split: Where the videos to be found come from; everything earlier is the past.
        users: User rows, [q].
        history_offsets: Where each user's past begins, [q + 1].
        history: Positives of all earlier splits, oldest first within a user, [n]; also what is
            masked, since nobody is shown again what they have watched.
        history_time_ms: When each of these happened, UTC, [n]; unknown is the least int64.
        truth_offsets: Where each user's videos to be found begin, [q + 1].
        truth: Positives of the split, rising and distinct within a user, [m].
        truth_time_ms: When each first happened, UTC, [m]; unknown is the least int64.
        video_rows: Rows of videos including the two that stand before the catalogue.
        repeated: How many videos of the split are not to be found because their user had watched
            them before; they are masked, so no list could hold them. 0 for data.repeats=first.
    """

    split: Split
    users: Int64[np.ndarray, " q"]
    history_offsets: Int64[np.ndarray, " q1"]
    history: Int32[np.ndarray, " n"]
    history_time_ms: Int64[np.ndarray, " n"]
    truth_offsets: Int64[np.ndarray, " q1"]
    truth: Int64[np.ndarray, " m"]
    truth_time_ms: Int64[np.ndarray, " m"]
    video_rows: int
    repeated: int = 0

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> "EvaluationSet":
        """Read a split of a dataset.

        Args:
            dataset: As `prepare` wrote it.
            split: `valid` (the past is train) or `test` (the past is train and valid).

        Raises:
            DataError: The split is train, or nobody has anything to find in it.
        """
        earlier = past_of(split)
        past, future = dataset.positives(*earlier), dataset.positives(split)
        rows = np.flatnonzero(future.counts() > 0)
        if not len(rows):
            raise DataError(
                f"{dataset.folder}: no user has a positive event in the {split.name} split;"
                " move the cut (cut.valid, cut.test) earlier, or check data.positive"
            )
        rows = rows[np.argsort(np.asarray(dataset.users.ids(rows)), kind="stable")]
        history_offsets, history, history_time_ms = _take(past, rows)
        history = history.astype(np.int32)
        truth = _distinct(*_take(future, rows))
        users = cls(split, rows, history_offsets, history, history_time_ms, *truth, len(dataset.videos))
        again = users._watched_before()
        if not again.any():
            return users
        if again.all():
            raise DataError(
                f"{dataset.folder}: all {len(again):,} positives of the {split.name} split were positives of the same"
                " user before, and nobody is shown those again; move the cut (cut.valid, cut.test) earlier"
            )
        return users._without(again)

    def _watched_before(self) -> Bool[np.ndarray, " m"]:
        """Mark which videos to be found are masked, [m]; in blocks of users, for the keys take 8 B an event."""
        again = np.zeros(len(self.truth), bool)
        for start in range(0, len(self), USERS_AT_ONCE):
            stop = min(start + USERS_AT_ONCE, len(self))
            block = self.pick(np.arange(start, stop))
            owner = np.repeat(np.arange(len(block)), np.diff(block.history_offsets))
            masked = owner * np.int64(self.video_rows) + block.history
            sought = block.truth_owner * np.int64(self.video_rows) + block.truth
            again[self.truth_offsets[start] : self.truth_offsets[stop]] = np.isin(sought, masked)
        return again

    def _without(self, again: Bool[np.ndarray, " m"]) -> "EvaluationSet":
        """Return the set without some of the videos to be found, and without who has nothing left to find."""
        counts = np.bincount(self.truth_owner[~again], minlength=len(self))
        part = replace(
            self,
            truth_offsets=np.concatenate([[0], np.cumsum(counts)]),
            truth=self.truth[~again],
            truth_time_ms=self.truth_time_ms[~again],
        )
        return replace(part.pick(np.flatnonzero(counts)), repeated=int(again.sum()))

    def __len__(self) -> int:
        return len(self.users)

    @property
    def catalogue(self) -> int:
        """How many videos may be recommended."""
        return self.video_rows - FIRST_ROW

    @property
    def warm(self) -> Bool[np.ndarray, " q"]:
        """Which users have a past; the headline is theirs, [q]."""
        return np.diff(self.history_offsets) > 0

    @property
    def relevant(self) -> Int64[np.ndarray, " q"]:
        """How many videos each user has to find, [q]."""
        return np.diff(self.truth_offsets)

    def hits(self, rows: Int64[np.ndarray, "q depth"]) -> Bool[np.ndarray, "q depth"]:
        """Mark which listed videos (rows, -1 is an empty place) the user went on to watch, [q, depth]."""
        return ranking.hit_matrix(rows, self.truth_offsets, self.truth, self.video_rows)

    def found(self, rows: Int64[np.ndarray, "q depth"], hits: Bool[np.ndarray, "q depth"]) -> Bool[np.ndarray, " m"]:
        """Mark which of the videos to be found are among those listed, [m].

        Args:
            rows: Listed videos, [q, depth].
            hits: What `hits` says of them, [q, depth].
        """
        listed = np.nonzero(hits)[0] * np.int64(self.video_rows) + rows[hits]
        return np.isin(self.truth_owner * np.int64(self.video_rows) + self.truth, listed)

    def pick(self, places: Int64[np.ndarray, " p"]) -> "EvaluationSet":
        """Return the users at these places, in this order.

        Args:
            places: 0 … q - 1, [p].
        """
        history_offsets, past = _spread(self.history_offsets, places)
        truth_offsets, future = _spread(self.truth_offsets, places)
        return EvaluationSet(
            self.split,
            self.users[places],
            history_offsets,
            self.history[past],
            self.history_time_ms[past],
            truth_offsets,
            self.truth[future],
            self.truth_time_ms[future],
            self.video_rows,
            self.repeated,
        )

    @property
    def truth_owner(self) -> Int64[np.ndarray, " m"]:
        """Whose each entry of `truth` is: 0 … q - 1, [m]."""
        return np.repeat(np.arange(len(self)), self.relevant)


def past_of(split: Split) -> list[Split]:
    """Return the splits that lie before one.

    Raises:
        DataError: Nothing lies before train.

    Example:
        >>> [s.name for s in past_of(Split.test)]
        ['train', 'valid']
    """
    if split == Split.train:
        raise DataError("split is train, which towers are fitted on; evaluate on valid or test")
    return [earlier for earlier in Split if earlier < split]


def _take(positives: Positives, users: Int64[np.ndarray, " q"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return offsets [q + 1], video rows [n] and times [n] of these users."""
    offsets, entries = _spread(positives.offsets, users)
    return offsets, positives.video_row[entries].astype(np.int64), positives.time_ms[entries]


def _spread(offsets: Int64[np.ndarray, " n1"], places: Int64[np.ndarray, " p"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the offsets [p + 1] of a part of a ragged array, and which entries it takes."""
    counts = offsets[places + 1] - offsets[places]
    begins = np.concatenate([[0], np.cumsum(counts)])
    return begins, np.arange(begins[-1]) + np.repeat(offsets[places] - begins[:-1], counts)


def _distinct(offsets: np.ndarray, rows: np.ndarray, time_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each user's videos rising and once each, with the first time."""
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((rows, owner))
    owner, rows, time_ms = owner[order], rows[order], time_ms[order]
    first = np.r_[True, (np.diff(owner) != 0) | (np.diff(rows) != 0)]
    counts = np.bincount(owner[first], minlength=len(offsets) - 1)
    return np.concatenate([[0], np.cumsum(counts)]), rows[first], time_ms[first]
