"""Finds files and loads them as they are: Parquet typed, CSV and JSON lines as text to be parsed cell by cell."""

from pathlib import Path

from towers.data.csv_files import load_csv
from towers.data.engine import Engine, listed, literal, quoted, translated
from towers.data.json_lines import load_json
from towers.data.lines import warn_of_malformed
from towers.data.source import Loaded
from towers.types import DataError

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json",
    ".json": "json",
}  # fmt: skip
NEARLY_ALL = 0.9
"""A text column of which this share are numbers (or moments, or lists) is one; the rest is unparsable."""


def load(engine: Engine, name: str, place: str, option: str) -> Loaded:
    """Load a file, a folder or a glob as one table.

    Args:
        engine: Where to.
        name: What the database calls the table.
        place: The path.
        option: What the user calls it, for messages.

    Raises:
        DataError: There is no such file, formats are mixed or unknown, headers have nothing in common, or a file is
            damaged.
    """
    paths = find(place, option)
    kind = _format(paths, option)
    origin = f"{option}={place}"
    with translated(f"{origin}: cannot read {_damaged(engine, paths, kind)}"):
        if kind == "parquet":
            engine.run("load", name=name, reader=f"read_parquet({listed(paths)}, union_by_name = true)")
        elif kind == "csv":
            load_csv(engine, name, paths, origin)
        else:
            load_json(engine, name, paths, origin)
    types = engine.types(name)
    types.pop("towers_row")
    if kind == "parquet":
        return Loaded(name=name, types=types, text=False, origin=origin)
    warn_of_malformed(engine, name, option)
    judged = {column: _judge(engine, name, column) for column in types}
    whole = frozenset(column for column, (_, is_whole) in judged.items() if is_whole)
    types = {column: sort for column, (sort, _) in judged.items()}
    return Loaded(name=name, types=types, text=True, whole=whole, origin=origin)


def find(place: str, option: str) -> list[Path]:
    """Return the files of a path, a folder (with those below it) or a glob, sorted.

    Raises:
        DataError: There are none.
    """
    path = Path(place)
    if path.is_file():
        return [path]
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and _suffix(p) in FORMATS)
    else:
        anchor = Path(path.anchor) if path.is_absolute() else Path()
        found = sorted(p for p in anchor.glob(str(path.relative_to(path.anchor))) if p.is_file())
    if not found:
        raise DataError(f"{option}={place}: no file found; expected a file, a folder or a glob of {', '.join(FORMATS)}")
    return found


def _suffix(path: Path) -> str:
    return Path(path.stem).suffix.lower() if path.suffix == ".gz" else path.suffix.lower()


def _format(paths: list[Path], option: str) -> str:
    for path in paths:
        if _suffix(path) not in FORMATS:
            raise DataError(
                f"{option}: {path} is of no known format; expected {', '.join(FORMATS)}, text also with .gz"
            )
    kinds = sorted({FORMATS[_suffix(path)] for path in paths})
    if len(kinds) > 1:
        raise DataError(f"{option}: the files are of several formats, {' and '.join(kinds)}; give files of one")
    return kinds[0]


def _damaged(engine: Engine, paths: list[Path], kind: str) -> str:
    """Return the first file that cannot be opened at all, or all that there are."""
    if kind == "parquet":
        for path in paths:
            try:
                engine.types(f"read_parquet({literal(path)})")
            except engine.error:
                return str(path)
    return str(paths[0]) if len(paths) == 1 else f"{paths[0]} … {paths[-1]}"


def _judge(engine: Engine, name: str, column: str) -> tuple[str, bool]:
    """Return the type of a text column, and whether every cell could be an int64 id."""
    (counts,) = engine.select("judge_text", name=name, column=quoted(column))
    cells, whole, integers, numbers, booleans, moments, numeric_lists, lists = counts
    enough = max(1, NEARLY_ALL * cells)
    ranked = (
        ("BIGINT", integers if integers == numbers else 0), ("DOUBLE", numbers), ("BOOLEAN", booleans),
        ("TIMESTAMP WITH TIME ZONE", moments), ("DOUBLE[]", numeric_lists if numeric_lists == lists else 0),
        ("VARCHAR[]", lists),
    )  # fmt: skip
    return next((sort for sort, count in ranked if count >= enough), "VARCHAR"), whole == cells > 0
