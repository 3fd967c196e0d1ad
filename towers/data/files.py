"""Anybody's tables: Parquet, CSV or JSON lines."""

import logging
import re
from dataclasses import dataclass, field
from pathlib import Path

from towers.data.cells import WHOLE, is_fraction, is_list, is_moment
from towers.data.clean import RESERVED
from towers.data.cut import moment_ms
from towers.data.encoders import Kind
from towers.data.engine import Engine, literal, quoted
from towers.data.read import load
from towers.data.source import Ids, Loaded, Repeats, Source, Staged, Things, TimeUnit
from towers.types import ConfigError, DataError

_log = logging.getLogger(__name__)

FEW = 32
"""An integer feature with at most this many values is taken as names, otherwise as a number."""
EVERY = "true"
"""The condition that every event meets."""
SEPARATORS, HALF, SOME = ",;|", 0.5, 0.1
"""What may stand between names; from which share of texts with it a column holds several names, or may do so."""
FIRST, ALL = 20_000, 2**62
"""Rows of a table that are looked through for what may stand between names, and for what does."""
WINDOW_MS = (0, 4_102_444_800_000)


@dataclass(kw_only=True)
class Columns:
    """What the tables call their columns; the last three are used where they exist."""

    user_id: str = "user_id"
    """Who; in the events and in the users' table."""
    video_id: str = "video_id"
    """What; in the events and in the videos' table."""
    time_ms: str | None = "time_ms"
    """When; a number (see time_unit) or a timestamp (UTC unless it says otherwise)."""
    position: str | None = "position"
    """The order of a user's events where times are unknown or equal."""
    split: str | None = "split"
    """train, valid or test; where it exists it is used as it is, and `cut` is not."""


@dataclass(kw_only=True)
class Files(Source):
    """Anybody's tables: Parquet, CSV or JSON lines; each a file, a folder or a glob."""

    events: str
    """The log: one row per user who met a video."""
    users: str | None = None
    """A table of users and their features."""
    videos: str | None = None
    """A table of videos and their features; all of it belongs to the catalogue."""
    columns: Columns = field(default_factory=Columns)
    """What the tables call their columns."""
    time_unit: TimeUnit = TimeUnit.ms
    """What a numeric time counts."""
    since: str | None = None
    """Events before this moment (ISO 8601 or epoch ms) are rejected."""
    until: str | None = None
    """Events after this moment (ISO 8601 or epoch ms) are rejected."""
    positive: str = EVERY
    """SQL condition over the events' columns: what the towers should predict, such as long_view = 1."""
    weight: str = "1"
    """SQL expression over the events' columns: how much a positive counts, such as least(watch_ms / duration_ms, 1)."""
    repeats: Repeats = Repeats.first
    """What becomes of a video that a user watched again."""
    labels: list[str] | None = None
    """Columns of the events to keep as labels; by default all that have no other role."""
    ids: Ids = Ids.auto
    """What sort of ids there are."""
    user_features: dict[str, Kind] = field(default_factory=dict)
    """Kinds of the users' features, by column."""
    video_features: dict[str, Kind] = field(default_factory=dict)
    """Kinds of the videos' features, by column."""
    infer: bool = True
    """Take the other columns of users and videos as features too, of the kind that they look like."""
    separator: str = ","
    """What stands between the values of a multi-valued feature that is a text."""
    protocol: str | None = None
    """What reports call this split; by default the name of the events."""

    def stage(self, engine: Engine) -> Staged:
        """Load the tables, and settle which column plays which part."""
        events = load(engine, "raw_events", self.events, "data.events")
        columns = self._columns(events)
        users = self._things(engine, "user", self.users, self.user_features)
        videos = self._things(engine, "video", self.videos, self.video_features)
        window = (
            WINDOW_MS[0] if self.since is None else moment_ms(self.since, "data.since"),
            WINDOW_MS[1] if self.until is None else moment_ms(self.until, "data.until"),
        )
        return Staged(
            events=events,
            columns=columns,
            labels=self._labels(events, columns),
            protocol=self.protocol or _named_after(self.events),
            users=users,
            videos=videos,
            positive=self.positive,
            weight=self.weight,
            repeats=self.repeats,
            time_unit=self.time_unit,
            ids=self.ids,
            window_ms=window,
        )

    def _columns(self, events: Loaded) -> dict[str, str]:
        roles = {name: getattr(self.columns, name) for name in ("user_id", "video_id", "time_ms", "position", "split")}
        columns = {}
        for role, column in roles.items():
            if column is None or (
                column == role and role not in {"user_id", "video_id"} and column not in events.types
            ):
                continue
            columns[role] = events.require(column, f"data.columns.{role}")
        if not {"time_ms", "position"} & columns.keys():
            raise DataError(
                f"{events.origin} has neither time_ms nor position, so a user's events have no order; it has "
                f"{', '.join(events.types)}; set data.columns.time_ms=COLUMN, or, where no times are known, "
                "data.columns.position=COLUMN, of numbers that grow as a user goes on, and cut=leave_one_out"
            )
        return columns

    def _labels(self, events: Loaded, columns: dict[str, str]) -> dict[str, str]:
        if self.labels is None:
            taken = {*columns.values(), *RESERVED, "user_id", "video_id"}
            return {name: name for name in events.types if name not in taken}
        for name in self.labels:
            events.require(name, "data.labels")
            if name in RESERVED:
                raise ConfigError(f"data.labels holds {name!r}, which a dataset writes itself; rename it in the data")
        return {name: name for name in self.labels}

    def _things(self, engine: Engine, kind: str, place: str | None, declared: dict[str, Kind]) -> Things | None:
        if place is None:
            if declared:
                raise ConfigError(
                    f"data.{kind}_features names {', '.join(declared)}, but there is no data.{kind}s=TABLE"
                )
            return None
        loaded = load(engine, f"raw_{kind}s", place, f"data.{kind}s")
        key = loaded.require(getattr(self.columns, f"{kind}_id"), f"data.columns.{kind}_id")
        for name in declared:
            loaded.require(name, f"data.{kind}_features.COLUMN with another")
        features, inferred, skipped = dict[str, Kind](), list[str](), dict[str, str]()
        for name, sort in loaded.types.items():
            found = declared.get(name) or (self._infer(engine, loaded, name) if self.infer and name != key else None)
            if found is not None:
                features[name] = found
                inferred += [] if name in declared else [name]
            elif name != key:
                skipped[name] = f"a column of {sort} is no feature" if self.infer else "not declared"
        self._warn_of_separators(engine, loaded, features, inferred)
        return Things(
            loaded=loaded, id=key, features=features, inferred=inferred, skipped=skipped, separator=self.separator
        )

    def _infer(self, engine: Engine, loaded: Loaded, column: str) -> Kind | None:
        if loaded.types[column] == "VARCHAR" and share_of_several(engine, loaded, column, self.separator) >= HALF:
            return Kind.multi
        return infer(engine, loaded, column)

    def _warn_of_separators(
        self, engine: Engine, loaded: Loaded, features: dict[str, Kind], inferred: list[str]
    ) -> None:
        """Say where a column of texts looks as if it held several names a row, between another separator."""
        if not self.separator:
            return
        texts = [name for name in features if loaded.types[name] == "VARCHAR"]
        split = {name for name in texts if features[name] is Kind.multi}
        split = {name for name in split if share_of_several(engine, loaded, name, self.separator, FIRST)}
        remedy = (
            "split it beforehand, as data.separator is for all columns" if split else "data.separator='{0}' does so"
        )
        for name in texts:
            if name in split or (features[name] is not Kind.multi and name not in inferred):
                continue
            for other in SEPARATORS.replace(self.separator, ""):
                if share_of_several(engine, loaded, name, other, FIRST) >= SOME:
                    _log.warning(
                        "%s: %s is taken for one name a row, but holds %r between parts that repeat; to read these as "
                        "several names, %s",
                        *(loaded.origin, name, other, remedy.format(other)),
                    )
                    break


def share_of_several(engine: Engine, loaded: Loaded, column: str, separator: str, first: int = ALL) -> float:
    """Return which share of a column's texts, all or the first, holds the separator.

    0 where its parts do not repeat, as of sentences.
    """
    if not separator:
        return 0.0
    words = {"name": loaded.name, "column": quoted(column), "separator": literal(separator)}
    ((texts, several, parts, different),) = engine.select("count_parts", **words, first=first)
    return several / texts if 0 < 2 * different <= parts else 0.0


def _named_after(events: str) -> str:
    """Return a name for what comes of some files.

    Example:
        >>> _named_after("logs/views.csv.gz"), _named_after("logs/views-*.parquet"), _named_after("logs/")
        ('views', 'views', 'logs')
    """
    name = Path(events.rstrip("/")).name.split(".")[0]
    return re.sub(r"[*?\[\]]+", "", name).strip("-_") or "files"


def infer(engine: Engine, loaded: Loaded, column: str) -> Kind | None:
    """Return the kind that a column looks like, or None where it looks like no feature."""
    sort = loaded.types[column]
    if is_list(sort):
        return Kind.vector if sort.startswith(("FLOAT", "DOUBLE", "DECIMAL")) else Kind.multi
    if sort in {"VARCHAR", "BOOLEAN", "UUID"} or sort.startswith("ENUM"):
        return Kind.categorical
    if is_fraction(sort) or is_moment(sort):
        return Kind.numeric
    if sort not in WHOLE:
        return None
    if column == "id" or column.endswith("_id"):
        return Kind.categorical
    ((values,),) = engine.select("count_distinct", name=loaded.name, column=quoted(column))
    return Kind.categorical if values <= FEW else Kind.numeric
