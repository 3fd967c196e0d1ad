"""SQL expressions that read a cell as an id, a time, or one kind of feature; null where it cannot be read."""

import re

from towers.data.encoders import Kind
from towers.data.engine import literal, quoted
from towers.data.source import Ids, Loaded, TimeUnit

WHOLE = {f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")}
EXACT_TO = 2**53
"""Doubles hold every whole number below this one."""


def is_fraction(kind: str) -> bool:
    """Whether a type holds numbers with a fractional part."""
    return kind in {"FLOAT", "DOUBLE"} or kind.startswith("DECIMAL")


def is_moment(kind: str) -> bool:
    """Whether a type is a date, with or without a time of day."""
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def is_list(kind: str) -> bool:
    """Whether a type is a list or an array of one dimension."""
    return re.fullmatch(r"[A-Z]+(\(.*\))?\[\d*\]", kind) is not None


def cell(loaded: Loaded, column: str) -> str:
    """Return the cell in its column's type."""
    kind, name = loaded.types[column], quoted(column)
    return f"TRY_CAST({name} AS {kind})" if loaded.text and kind != "VARCHAR" else name


def id_is_string(loaded: Loaded, column: str, ids: Ids) -> bool:
    """Whether the ids of a column are strings."""
    if ids is not Ids.auto:
        return ids is Ids.string
    kind = loaded.types[column]
    return column not in loaded.whole if loaded.text else not (kind in WHOLE or is_fraction(kind))


def id_cell(loaded: Loaded, column: str, ids: Ids) -> str:
    """Return the cell as an id: BIGINT or VARCHAR."""
    name, kind = quoted(column), loaded.types[column]
    if id_is_string(loaded, column, ids):
        return f"nullif(CAST({name} AS VARCHAR), '')"
    if is_fraction(kind) and not loaded.text:
        return f"CASE WHEN {name} = floor({name}) AND abs({name}) < {EXACT_TO} THEN CAST({name} AS BIGINT) END"
    if kind in WHOLE and not loaded.text:
        return f"TRY_CAST({name} AS BIGINT)"
    whole = literal(r"^-?[0-9]+(\.0*)?$")
    return f"CASE WHEN regexp_matches({name}, {whole}) THEN TRY_CAST(split_part({name}, '.', 1) AS BIGINT) END"


def time_cell(loaded: Loaded, column: str, unit: TimeUnit) -> str:
    """Return the cell as milliseconds since 1970, UTC."""
    kind, name = loaded.types[column], quoted(column)
    if is_moment(kind):
        typed = cell(loaded, column)
        return f"epoch_ms(CAST({typed} AS TIMESTAMP))" if "ZONE" not in kind else f"epoch_ms({typed})"
    number = f"TRY_CAST({name} AS DOUBLE)" if is_fraction(kind) else f"TRY_CAST({name} AS BIGINT)"
    scaled = {
        TimeUnit.ms: f"TRY_CAST({number} AS BIGINT)",
        TimeUnit.s: f"TRY_CAST(round({number} * 1000.0) AS BIGINT)" if is_fraction(kind) else f"TRY({number} * 1000)",
        TimeUnit.us: f"TRY_CAST(floor({number} / 1000) AS BIGINT)" if is_fraction(kind) else f"{number} // 1000",
    }[unit]
    if kind == "VARCHAR":
        return f"coalesce({scaled}, epoch_ms(TRY_CAST({name} AS TIMESTAMP WITH TIME ZONE)))"
    return scaled


def feature_cell(loaded: Loaded, column: str, kind: Kind, separator: str) -> str:
    """Return the cell as a feature: VARCHAR, VARCHAR[], DOUBLE or FLOAT[]."""
    typed, declared = cell(loaded, column), loaded.types[column]
    if kind is Kind.numeric:
        return _numeric(typed, declared)
    if kind is Kind.multi:
        texts = f"CAST({typed} AS VARCHAR[])"
        if not is_list(declared):
            texts = f"string_split(CAST({typed} AS VARCHAR), {literal(separator)})"
        return f"[trim(one) FOR one IN {texts} IF trim(one) <> '']"
    if kind is Kind.vector:
        numbers = f"TRY_CAST({typed} AS FLOAT[])"
        return f"CASE WHEN len([one FOR one IN {numbers} IF one IS NULL OR NOT isfinite(one)]) = 0 THEN {numbers} END"
    if declared == "BOOLEAN":
        return f"CASE WHEN {typed} THEN 'True' WHEN NOT {typed} THEN 'False' END"
    return f"nullif(CAST({quoted(column)} AS VARCHAR), '')"


def _numeric(typed: str, declared: str) -> str:
    if declared == "DATE":
        return f"CAST({typed} - DATE '1970-01-01' AS DOUBLE)"
    if declared.startswith("TIMESTAMP"):
        return f"epoch_ms({typed}) / 86400000.0"
    number = f"TRY_CAST({typed} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN {number} END"
