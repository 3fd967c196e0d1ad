"""Users and videos: their rows, their features, and the encoders fitted before the cut."""

import logging
from dataclasses import dataclass
from typing import Any

from towers.data.cells import feature_cell, id_cell, id_is_string
from towers.data.encoders import Encoder, Encoders, Kind
from towers.data.engine import Engine, quoted, text_of
from towers.data.source import Loaded, Staged, Things
from towers.types import DataError

_log = logging.getLogger(__name__)
KINDS = ("user", "video")


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How finely features are encoded.

    Attributes:
        min_count: How many users or videos known before the cut must share a value for it to get a code of its own.
        buckets: Into how many quantiles numbers are cut.
    """

    min_count: int
    buckets: int


def type_things(engine: Engine, staged: Staged) -> dict[str, dict[str, int]]:
    """Make `typed_users` and `typed_videos` where there are tables; return what was rejected of each.

    Raises:
        DataError: Ids are strings in one table and integers in the other, or a vector's width varies.
    """
    rejected = {}
    for kind, things in zip(KINDS, (staged.users, staged.videos), strict=True):
        if things is None:
            continue
        _check_same_ids(kind, staged, things)
        loaded, features = things.loaded, ""
        for name, sort in things.features.items():
            features += f",\n    {feature_cell(loaded, name, sort, things.separator)} AS {quoted(name)}"
        words = {"id": id_cell(loaded, things.id, staged.ids), "raw_id": quoted(things.id), "features": features}
        engine.run("type_things", kind=kind, **words)
        malformed = dict(engine.select("count_malformed", source=f"{kind}s"))
        rejected[f"{kind}s"] = malformed | dict(engine.select("count_reasons", judged=f"typed_{kind}s"))
    return rejected


def number_things(engine: Engine, staged: Staged) -> None:
    """Make `users` and `videos`: row, id, and whether it was met in train."""
    for kind, things in zip(KINDS, (staged.users, staged.videos), strict=True):
        listed = "SELECT user_id AS id FROM events WHERE false".replace("user", kind)
        if things is not None:
            listed = f"SELECT id FROM typed_{kind}s WHERE reason IS NULL"  # noqa: S608
        engine.run("number_things", kind=kind, listed=listed)


def fit_encoders(engine: Engine, staged: Staged, fit: Fit) -> Encoders:
    """Fit the encoders over the users and videos met in train; a feature that none of them has is left out."""
    found: dict[str, tuple[Encoder, ...]] = {}
    for kind, things in zip(KINDS, (staged.users, staged.videos), strict=True):
        features = things.features if things is not None else {}
        found[kind] = tuple(
            _fit(engine, kind, name, sort, fit)
            for name, sort in features.items()
            if _has_values(engine, kind, name, sort)
        )
    return Encoders(users=found["user"], videos=found["video"])


def describe(engine: Engine, staged: Staged, encoders: Encoders) -> dict[str, dict[str, Any]]:
    """Return, and log, what each feature was taken for, how many of its values are missing, and what is left out."""
    named = {Kind.categorical, Kind.multi}
    kept = {
        kind: {each.name: each.values if each.kind in named else None for each in fitted}
        for kind, fitted in vars(encoders).items()
    }
    notes: dict[str, dict[str, Any]] = {"users": {}, "videos": {}}
    for kind, things in zip(KINDS, (staged.users, staged.videos), strict=True):
        if things is None:
            continue
        for name, sort in things.features.items():
            ((rows, filled, given),) = engine.select("count_feature", kind=kind, column=quoted(name))
            inferred = name in things.inferred
            notes[f"{kind}s"][name] = {
                "kind": sort.name, "inferred": inferred, "missing": rows - filled, "unparsable": given - filled,
            }  # fmt: skip
            if inferred:
                _log.info(
                    "%s feature %s: taken as %s; data.%s_features.%s=KIND changes it",
                    *(kind, name, sort.name, kind, name),
                )
            if given > filled:
                what = f"{given - filled:,} of {given:,} values are not {sort.name} and count as missing"
                _log.warning(
                    "%s feature %s: %s; data.%s_features.%s=KIND reads them otherwise", kind, name, what, kind, name
                )
            if kept[f"{kind}s"].get(name) == ():
                _log.warning(
                    "%s feature %s: no value is shared by min_count %ss known before the cut, so it tells nothing; "
                    "a lower min_count keeps rarer values",
                    *(kind, name, kind),
                )
            if name not in kept[f"{kind}s"]:
                reason = f"no {kind} known before the cut has a value"
                notes[f"{kind}s"][name]["left out"] = reason
                _log.warning("%s feature %s: left out, %s", kind, name, reason)
        ((alone,),) = engine.select("count_unlisted", kind=kind)
        if alone:
            _log.info(
                "%ss met in events alone, not in %s: %s; they have no features",
                kind,
                things.loaded.origin,
                f"{alone:,}",
            )
        for name, reason in things.skipped.items():
            notes[f"{kind}s"][name] = {"left out": reason}
            _log.info("%s feature %s: left out, %s", kind, name, reason)
    return notes


def _check_same_ids(kind: str, staged: Staged, things: Things) -> None:
    sorts = {True: "string", False: "int64"}
    events = sorts[id_is_string(staged.events, staged.columns[f"{kind}_id"], staged.ids)]
    table = sorts[id_is_string(things.loaded, things.id, staged.ids)]
    if events != table:
        raise DataError(
            f"{kind} ids are {events} in {staged.events.origin} but {table} in {things.loaded.origin}; expected "
            "one sort; set data.ids=string to read both as strings"
        )


def _fit(engine: Engine, kind: str, name: str, sort: Kind, fit: Fit) -> Encoder:
    column = f"typed.{quoted(name)}"
    if sort is Kind.vector:
        return Encoder(name, sort, dim=_width(engine, kind, name))
    if sort is Kind.numeric:
        shares = "[" + ", ".join(repr(number / fit.buckets) for number in range(1, fit.buckets)) + "]"
        found = engine.select("fit_boundaries", kind=kind, value=column, shares=shares)
        return Encoder(name, sort, boundaries=tuple(float(value) for (value,) in found))
    value = f"unnest(list_distinct({column}))" if sort is Kind.multi else column
    found = engine.select("fit_values", kind=kind, value=value, least=fit.min_count)
    return Encoder(name, sort, values=tuple(text for (text,) in found))


def _has_values(engine: Engine, kind: str, name: str, sort: Kind) -> bool:
    column = f"typed.{quoted(name)}"
    value = f"nullif(len({column}), 0)" if sort in {Kind.multi, Kind.vector} else column
    ((count,),) = engine.select("count_values", kind=kind, value=value)
    return bool(count)


def _width(engine: Engine, kind: str, name: str) -> int:
    widths = engine.select("widths", kind=kind, column=quoted(name))
    if len(widths) > 1:
        raise DataError(
            f"{kind} feature {name!r} has vectors of {widths[0][0]} numbers and of {widths[1][0]}; expected one width; "
            f"mend the table, or set data.{kind}_features.{name}=multi"
        )
    return int(widths[0][0]) if widths else 0


def write_columns(things: Things | None) -> dict[str, str]:
    """Return the words of `write_things` that bring the features along."""
    if things is None:
        return {"features": "", "join": ""}
    kind = "user" if things.loaded.name == "raw_users" else "video"
    return {
        "features": "".join(f", typed.{quoted(name)}" for name in things.features),
        "join": f"LEFT JOIN typed_{kind}s AS typed ON numbered.id = typed.id AND typed.reason IS NULL",
    }


def rejected_part(source: str, judged: str, loaded: Loaded) -> str:
    """Return the SELECT of one table's rejected rows."""
    cells = ", ".join(f"{quoted(name)} := raw.{quoted(name)}" for name in loaded.types)
    return text_of("rejected", source=source, judged=judged, raw=loaded.name, cells=cells)
