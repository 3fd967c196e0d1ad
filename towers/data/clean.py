"""Raw events become kept, rejected or duplicate ones, each of them accounted for."""

import logging
import re
from typing import Any

from towers.data.cells import cell, id_cell, time_cell
from towers.data.engine import Engine, literal, quoted, translated
from towers.data.source import Repeats, Staged, TimeUnit
from towers.types import DataError

RESERVED = frozenset({
    "user_id", "video_id", "user_row", "video_row", "time_ms", "position", "split", "positive", "weight", "reason",
    "wanted", "place", "nth_time", "so_far", "in_all", "towers_row",
})  # fmt: skip
"""Columns that we write; no label may take their names."""
SECONDS_BELOW, MICROSECONDS_ABOVE = 10**11, 10**14
FLOATS = {"FLOAT", "DOUBLE"}
"""DuckDB's types that have a NaN."""

_log = logging.getLogger(__name__)


def clean_events(engine: Engine, staged: Staged) -> dict[str, Any]:
    """Make `ordered` of what can be used; return the count of what came, was rejected, and was a duplicate.

    Raises:
        DataError: There are no events, times are in another unit, a split has an unknown name,
            an expression fails, or nothing is left.
    """
    malformed = dict(engine.select("count_malformed", source="events"))
    ((read,),) = engine.select("count_raw")
    came = read + sum(malformed.values())
    if came == 0:
        raise DataError(f"{staged.events.origin} holds 0 events; give a log with at least one")
    engine.run("type_events", **_typed(staged))
    if "time_ms" in staged.columns:
        _check_unit(engine, staged)
    if "split" in staged.columns:
        _check_split(engine, staged)
    _judge(engine, staged)
    engine.run("find_duplicates", columns=", ".join(map(quoted, staged.events.types)))
    engine.run("order_events", repeats_count="true" if staged.repeats is Repeats.all else "false")
    rejected = malformed | dict(engine.select("count_reasons", judged="judged"))
    ((kept, positive, _),) = engine.select("count_kept")
    if kept == 0:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in rejected.items())
        remedy = "; data.ids=int64 takes ids for whole numbers: leave it out where some are text"
        raise DataError(
            f"all {came} events of {staged.events.origin} were rejected ({reasons}); none is left to learn from"
            f"{remedy if any(reason in {'unparsable user_id', 'unparsable video_id'} for reason in rejected) else ''}"
        )
    if positive == 0:
        raise DataError(
            f"no event is positive: data.positive={staged.positive!r} holds for 0 of {kept} events; "
            f"write a condition over {', '.join(staged.events.types)}"
        )
    lost = sum(rejected.values())
    ((wanted,),) = engine.select("count_wanted")
    if wanted > positive:
        again = f"{wanted - positive:,} of {wanted:,} positives are of videos watched again and do not count"
        _log.info("%s; data=files counts them with data.repeats=all", again)
    return {"rows": came, "kept": kept, "duplicates": came - kept - lost, "rejected": rejected}


def _typed(staged: Staged) -> dict[str, str]:
    events, columns = staged.events, staged.columns
    words = dict.fromkeys(("time_ms", "position"), "CAST(NULL AS BIGINT)") | {"split": "CAST(NULL AS VARCHAR)"}
    for kind in ("user_id", "video_id"):
        words[kind] = id_cell(events, columns[kind], staged.ids)
    if "time_ms" in columns:
        words["time_ms"] = time_cell(events, columns["time_ms"], staged.time_unit)
    if "position" in columns:
        words["position"] = f"TRY_CAST({quoted(columns['position'])} AS BIGINT)"
    if "split" in columns:
        words["split"] = f"CAST({quoted(columns['split'])} AS VARCHAR)"
    words["flaws"] = "\n        ".join(_flaws(staged, words))
    words["cells"] = ",\n    ".join(f"{cell(events, name)} AS {quoted(name)}" for name in events.types)
    return words


def _flaws(staged: Staged, words: dict[str, str]) -> list[str]:
    columns, flaws = staged.columns, []
    for kind in ("user_id", "video_id", "time_ms", "position", "split"):
        if kind not in columns:
            continue
        raw = quoted(columns[kind])
        flaws.append(f"WHEN {raw} IS NOT NULL AND CAST({raw} AS VARCHAR) <> '' AND {words[kind]} IS NULL "
                     f"THEN 'unparsable {kind}'")  # fmt: skip
        if kind in {"user_id", "video_id", "split"}:
            flaws.append(f"WHEN {words[kind]} IS NULL THEN 'null {kind}'")
    if "time_ms" in columns:
        low, high = staged.window_ms
        flaws.append(f"WHEN {words['time_ms']} NOT BETWEEN {low} AND {high} THEN 'time_ms outside the window'")
    if {"time_ms", "position"} & columns.keys():
        order = [words[kind] for kind in ("time_ms", "position") if kind in columns]
        flaws.append(f"WHEN coalesce({', '.join(order)}, NULL) IS NULL THEN 'null {_order_name(columns)}'")
    if staged.events.text:
        for name in staged.labels.values():
            typed = cell(staged.events, name)
            if typed != quoted(name):
                flaws.append(
                    f"WHEN {quoted(name)} IS NOT NULL AND {typed} IS NULL THEN {literal(f'unparsable {name}')}"
                )
    return flaws


def _order_name(columns: dict[str, str]) -> str:
    return " and ".join(kind for kind in ("time_ms", "position") if kind in columns)


def _check_unit(engine: Engine, staged: Staged) -> None:
    column, taken = staged.columns["time_ms"], staged.time_unit.name
    ((early, late, known, not_zero, low, high, below, above),) = engine.select(
        "range_of_times", early=SECONDS_BELOW, late=MICROSECONDS_ABOVE
    )
    unit = None
    if early * 2 > known:
        unit = _unit_of(below, staged.time_unit)
    elif late * 2 > known:
        unit = _unit_of(above, staged.time_unit)
    rest = not_zero - max(early, late)  # 0 is how many logs write that no time is known
    if unit is not None and unit is not staged.time_unit:
        mixed = f"; {rest:,} of its {known:,} times do not: where it holds two units, mend it first"
        raise DataError(
            f"{column!r}, read as {taken}, holds times from {low} to {high} ms since 1970; expected times between 1973 "
            f"and 2100; they look like {unit.name}: set data.time_unit={unit.name}{mixed if rest else ''}"
        )
    if early + late:
        which = f"{early + late:,} of {known:,} times in {column!r}, read as {taken}"
        _log.warning("%s, lie before 1973 or far beyond 2100: they may be in another unit; mend those that are", which)


def _unit_of(time_ms: int, taken: TimeUnit) -> TimeUnit | None:
    """Return the unit in which a time that was read in another one lies where real ones do; None where none does."""
    ms = {TimeUnit.s: 1000.0, TimeUnit.ms: 1.0, TimeUnit.us: 0.001}
    fitting = [unit for unit in ms if SECONDS_BELOW <= time_ms / ms[taken] * ms[unit] <= MICROSECONDS_ABOVE]
    return fitting[0] if fitting else None


def _check_split(engine: Engine, staged: Staged) -> None:
    for name, count in engine.select("unknown_splits"):
        raise DataError(
            f"column {staged.columns['split']!r} holds {name!r} in {count} rows; expected train, valid or test; "
            "rename it in the data, or set data.columns.split=null to cut anew"
        )


def _judge(engine: Engine, staged: Staged) -> None:
    labels = "".join(f",\n    {quoted(name)} AS {quoted(label)}" for label, name in staged.labels.items())
    for option, expression in (("positive", staged.positive), ("weight", staged.weight)):
        with translated(f"data.{option}={expression!r} does not work on {', '.join(staged.events.types)}"):
            engine.select("try_expression", expression=expression)
    engine.run(
        "judge_events",
        positive=staged.positive,
        weight=staged.weight,
        labels=labels,
        nans_of_positive=_nans(staged, staged.positive),
        nans_of_weight=_nans(staged, staged.weight),
    )


def _nans(staged: Staged, expression: str) -> str:
    """Return what rejects rows by a NaN that is asked about: to SQL it is above all numbers, so it would pass."""
    floats = [name for name, kind in staged.events.types.items() if kind in FLOATS]
    named = [name for name in floats if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", expression, re.IGNORECASE)]
    return "".join(f"\n        WHEN isnan({quoted(name)}) THEN {literal(f'{name} is NaN')}" for name in named)
