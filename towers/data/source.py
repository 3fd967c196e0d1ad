"""Where events come from, and what a source hands over to `prepare`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from typing import Any

from towers.data.encoders import Kind
from towers.data.engine import Engine
from towers.types import DataError


class TimeUnit(Enum):
    """What one step of a numeric time column is."""

    ms = "ms"
    """Milliseconds since 1970, UTC."""
    s = "s"
    """Seconds since 1970, UTC; fractions are kept to the millisecond."""
    us = "us"
    """Microseconds since 1970, UTC; cut to the millisecond."""


class Repeats(Enum):
    """What becomes of a video that a user watched again."""

    first = "first"
    """Only the first of a user's positives of a video is one; later ones stay as events."""
    all = "all"
    """Every one counts."""


class Ids(Enum):
    """What sort of ids a dataset has."""

    auto = "auto"
    """As the columns are: integers are int64, all else is strings."""
    int64 = "int64"
    """Integers; whatever is none is rejected."""
    string = "string"
    """Strings; "007" and "7" differ."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A table in the database, with `towers_row` (its place in the source, from 1) as first column.

    Attributes:
        name: What the database calls it.
        types: Its other columns, and the type that each should have.
        text: Whether cells still are the text of the file, to be parsed one by one.
        whole: Of a text, the columns in which every cell could be an int64 id.
        origin: What the user calls it, for messages.
    """

    name: str
    types: dict[str, str]
    text: bool
    origin: str
    whole: frozenset[str] = frozenset()

    def require(self, column: str, option: str) -> str:
        """Return the column, which must be there.

        Raises:
            DataError: It is not; the message names the nearest that is, and the option to set.
        """
        if column in self.types:
            return column
        near = get_close_matches(column, self.types, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"{self.origin} has no column {column!r}; {hint}it has {', '.join(self.types)}; set {option}=COLUMN"
        )


@dataclass(frozen=True, kw_only=True)
class Things:
    """A table of users or videos.

    Attributes:
        loaded: The table.
        id: Its id column.
        features: The features taken from it, and their kinds.
        inferred: Those whose kind nobody declared.
        skipped: Columns that are no feature, and why.
        separator: What stands between the values of a multi-valued feature that is a text.
    """

    loaded: Loaded
    id: str
    features: dict[str, Kind]
    inferred: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    separator: str = ","


@dataclass(frozen=True, kw_only=True)
class Staged:
    """What a source put into the database, and how to read it.

    Attributes:
        events: The raw events, `raw_events`.
        columns: Which column is `user_id`, `video_id`, and where there is one `time_ms`, `position`, `split`.
        labels: The label columns to keep: name in the dataset → name in the source.
        protocol: What the split is called in reports.
        users, videos: Tables of users and videos, where there are any.
        positive: SQL condition over the columns: which events the towers should predict.
        weight: SQL expression over the columns: how much a positive counts.
        repeats: What becomes of a video watched again.
        time_unit: What the time column counts.
        ids: What sort of ids there are.
        window_ms: Earliest and latest believable time.
        cut: What the manifest says of a split that comes with the source.
    """

    events: Loaded
    columns: dict[str, str]
    labels: dict[str, str]
    protocol: str
    users: Things | None
    videos: Things | None
    positive: str
    weight: str = "1"
    repeats: Repeats = Repeats.first
    time_unit: TimeUnit = TimeUnit.ms
    ids: Ids = Ids.auto
    window_ms: tuple[int, int] = (0, 4_102_444_800_000)
    cut: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Source(ABC):
    """Somewhere that events come from."""

    @abstractmethod
    def stage(self, engine: Engine) -> Staged:
        """Put events, users and videos into the database as they are, and say how to read them."""
