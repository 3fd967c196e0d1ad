"""Users' positives cut into windows, windows sorted into batches of like length."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, Int64

from towers.data import TIME_UNKNOWN, Positives


@dataclass(frozen=True)
class Windows:
    """Stretches of users' positives; together their targets are every positive once.

    Attributes:
        user: Row of the user, [w].
        begin: Place of the first event in the flat positives, [w].
        first: Place of the first target; what comes before it is history only, [w].
        end: Place after the last target, [w].
    """

    user: Int64[np.ndarray, " w"]
    begin: Int64[np.ndarray, " w"]
    first: Int64[np.ndarray, " w"]
    end: Int64[np.ndarray, " w"]

    def __len__(self) -> int:
        return len(self.user)

    @classmethod
    def of(cls, positives: Positives, length: int) -> "Windows":
        """Return windows of at most `length` events.

        A user with more gets several, each of which reads half a window of history before its
        first target.

        Example:
            >>> offsets = np.array([0, 0, 0, 7])
            >>> rows, ones = np.arange(2, 9, dtype=np.int32), np.ones(7, np.float32)
            >>> windows = Windows.of(Positives(offsets, rows, np.full(7, TIME_UNKNOWN), ones), length=4)
            >>> list(zip(windows.begin.tolist(), windows.first.tolist(), windows.end.tolist()))
            [(0, 0, 4), (2, 4, 6), (4, 6, 7)]
        """
        counts = np.diff(positives.offsets)
        step = max(1, length // 2)
        per_user = np.where(counts > 0, 1 + np.maximum(0, -(-(counts - length) // step)), 0)
        user = np.repeat(np.arange(len(counts)), per_user)
        number = np.arange(len(user)) - np.repeat(np.cumsum(per_user) - per_user, per_user)
        start = positives.offsets[user]
        begin = start + number * step
        end = np.minimum(begin + length, positives.offsets[user + 1])
        first = np.where(number == 0, begin, begin - step + length)
        return cls(user, begin, first, end)

    def weighing(self, weight: Float32[np.ndarray, " n"]) -> "Windows":
        """Return the windows that have a target of a weight above 0; the others would teach nothing."""
        counted = np.concatenate([[0], np.cumsum(weight > 0)])
        kept = counted[self.end] > counted[self.first]
        return Windows(self.user[kept], self.begin[kept], self.first[kept], self.end[kept])

    def batches(self, positions: int, rng: np.random.Generator) -> Iterator[Int64[np.ndarray, " b"]]:
        """Yield the windows of each batch, all once, in an order drawn from rng.

        Windows of like length go together, so that little is padding; a batch's padded size is at
        most `positions`, or one window.
        """
        lengths = self.end - self.begin
        order = np.lexsort((rng.random(len(self)), lengths))
        longest = lengths[order]
        cuts, start = [], 0
        while start < len(order):
            cuts.append(start)
            size = np.arange(1, min(positions, len(order) - start) + 1) * longest[start : start + positions]
            start += max(1, int(np.searchsorted(size, positions, side="right")))
        groups = np.split(order, cuts[1:])
        for index in rng.permutation(len(groups)):
            yield groups[index]

    def events(self, chosen: Int64[np.ndarray, " b"]) -> Int64[np.ndarray, "b h"]:
        """Return the places of the chosen windows' events in the flat positives; -1 pads the right."""
        lengths = self.end[chosen] - self.begin[chosen]
        step = np.arange(lengths.max(initial=1))
        return np.where(step < lengths[:, None], self.begin[chosen, None] + step, -1)


def last_strictly_before(time_ms: Int64[np.ndarray, "b h"]) -> Int64[np.ndarray, "b h"]:
    """Return, for each event, how many events of its row came strictly before it.

    Events without a time are ordered by place. An equal time is not the past: of two videos
    watched in the same millisecond neither may predict the other.

    Example:
        >>> last_strictly_before(np.array([[TIME_UNKNOWN, TIME_UNKNOWN, 5, 5, 6]])).tolist()
        [[0, 1, 2, 2, 4]]
    """
    place = np.broadcast_to(np.arange(time_ms.shape[1]), time_ms.shape)
    same = np.zeros(time_ms.shape, bool)
    same[:, 1:] = (time_ms[:, 1:] == time_ms[:, :-1]) & (time_ms[:, 1:] != TIME_UNKNOWN)
    return np.maximum.accumulate(np.where(same, 0, place), axis=1)


def pad_histories(
    offsets: Int64[np.ndarray, " users_1"],
    values: Int32[np.ndarray, " n"] | Int64[np.ndarray, " n"],
    users: Int64[np.ndarray, " q"],
    length: int,
    pad: int = 0,
) -> Int64[np.ndarray, "q h"]:
    """Return what is kept of the last `length` events of each user, oldest first, padded on the right.

    Args:
        offsets: Where each user's events begin in values, [users + 1].
        values: Video rows, or times, oldest first within a user, [n].
        users: Whose histories, [q].
        length: At most this many, the newest.
        pad: What fills up.

    Example:
        >>> pad_histories(np.array([0, 3, 4]), np.array([5, 6, 7, 8], np.int32), np.array([0, 1]), 2).tolist()
        [[6, 7], [8, 0]]
    """
    begin = np.maximum(offsets[users], offsets[users + 1] - length)
    counts = offsets[users + 1] - begin
    step = np.arange(counts.max(initial=0))
    inside = step < counts[:, None]
    out = np.full(inside.shape, pad, np.int64)
    out[inside] = values[(begin[:, None] + step)[inside]]
    return out
