"""Where towers are good and where not: recall of parts of the users, the videos and the week."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from jaxtyping import Bool, Int64

from towers.data import TIME_UNKNOWN
from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.interval import Figure, intervals
from towers.evaluation.measure import recall_within
from towers.types import DAY_MS

HISTORY_BOUNDS = (1, 6, 11, 21, 51, 101)
"""Where each range of history lengths begins."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
THURSDAY = 3
"""1 January 1970 was one; weekdays count from Monday."""

Slice = TypedDict(
    "Slice", {"group": str, "name": str, "users": int, "videos": int, "recall@100": Figure, "floor": Figure}
)
"""One line: who, how many users, how many videos to find, recall of the towers and of the best floor."""


@dataclass(frozen=True)
class Background:
    """What slices are cut by, all of it from before the split.

    Attributes:
        popularity: Positives of each catalogue position, [catalogue].
        activity: Events of any kind of each user of the set, [q].
    """

    popularity: Int64[np.ndarray, " catalogue"]
    activity: Int64[np.ndarray, " q"]

    @property
    def new_video(self) -> Bool[np.ndarray, " catalogue"]:
        """Which videos nobody had watched."""
        return self.popularity == 0


def slices(
    towers: Bool[np.ndarray, " m"],
    floor: Bool[np.ndarray, " m"],
    users: EvaluationSet,
    background: Background,
    draws: int,
    seed: int,
) -> list[Slice]:
    """Return recall@100 in every slice, of the towers and of the best floor.

    A slice of videos or days keeps only the videos to be found that belong to it; a slice
    nobody falls into is left out. But for `new users`, all are over users with a past.

    Args:
        towers: Whether each video to be found is among the first 100 of its user's list, [m].
        floor: The same of the best floor, [m].
        users: Who was asked.
        background: What to cut by.
        draws: Bootstrap samples.
        seed: Of the bootstrap.
    """
    lines: list[Slice] = []
    for group, name, wanted in _parts(users, background):
        ours, at = recall_within(towers, users, wanted)
        if not len(at):
            continue
        theirs, _ = recall_within(floor, users, wanted)
        both = intervals(np.stack([ours, theirs], axis=1), draws, seed)
        lines.append({
            "group": group,
            "name": name,
            "users": len(at),
            "videos": int(wanted.sum()),
            "recall@100": both[0],
            "floor": both[1],
        })
    return lines


def _parts(users: EvaluationSet, background: Background) -> Iterator[tuple[str, str, Bool[np.ndarray, " m"]]]:
    """Yield group, name and which videos to be found belong to the slice, [m]."""
    owner, warm = users.truth_owner, users.warm
    known = warm[owner]
    length = np.diff(users.history_offsets)
    for name, inside in _ranges(length, HISTORY_BOUNDS):
        yield "history length", name, (inside & warm)[owner]
    if warm.any():
        bounds = np.unique(np.quantile(background.activity[warm], [0, 0.25, 0.5, 0.75], method="lower")).tolist()
        for name, inside in _ranges(background.activity, tuple(int(b) for b in bounds)):
            yield "events before", name, (inside & warm)[owner]
    decile = popularity_decile(background.popularity)[users.truth - FIRST_ROW]
    for number in range(1, 11):
        yield "video popularity", _decile_name(number), (decile == number) & known
    yield "new videos", "nobody had watched it", (decile == 0) & known
    yield "new users", "no past", ~known
    timed = users.truth_time_ms != TIME_UNKNOWN
    weekday = np.where(timed, (users.truth_time_ms // DAY_MS + THURSDAY) % 7, -1)
    for number, name in enumerate(WEEKDAYS):
        yield "weekday (UTC)", name, (weekday == number) & known


def _ranges(values: Int64[np.ndarray, " q"], bounds: tuple[int, ...]) -> Iterator[tuple[str, Bool[np.ndarray, " q"]]]:
    """Yield the name of each range from a bound up to the next, and who is in it."""
    for low, high in zip(bounds, [*bounds[1:], None], strict=True):
        if high is None:
            yield f"{low:,} and more", values >= low
        else:
            yield f"{low:,}" if high == low + 1 else f"{low:,}–{high - 1:,}", (values >= low) & (values < high)


def popularity_decile(counts: Int64[np.ndarray, " catalogue"]) -> Int64[np.ndarray, " catalogue"]:
    """Return 1 (least watched tenth of the videos that were watched) to 10 (most), 0 for those never watched.

    Videos with equal counts are parted by their place, so that the tenths are of equal size.

    Example:
        >>> popularity_decile(np.array([0, 5, 1])).tolist()
        [0, 10, 5]
    """
    watched = np.flatnonzero(counts)
    order = watched[np.argsort(counts[watched], kind="stable")]
    decile = np.zeros(len(counts), np.int64)
    decile[order] = -(-10 * np.arange(1, len(order) + 1) // max(1, len(order)))
    return decile


def _decile_name(number: int) -> str:
    return {1: "least watched tenth", 10: "most watched tenth"}.get(number, f"tenth {number}")
