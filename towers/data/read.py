"""Finds files and loads them as they are: Parquet typed, CSV and JSON lines as text to be parsed cell by cell."""

from pathlib import Path

from towers.data.engine import Engine, listed, literal, quoted, translated
from towers.data.source import Loaded
from towers.types import DataError

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".tsv": "csv", ".jsonl": "json", ".ndjson": "json",
    ".json": "json",
}  # fmt: skip
SAMPLE = 200_000
"""Rows of a text file that decide its columns' types."""


def load(engine: Engine, name: str, place: str, option: str) -> Loaded:
    """Load a file, a folder or a glob as one table.

    Args:
        engine: Where to.
        name: What the database calls the table.
        place: The path.
        option: What the user calls it, for messages.

    Raises:
        DataError: There is no such file, formats are mixed or unknown, or a file is damaged.
    """
    paths = find(place, option)
    kind = _format(paths, option)
    readers = {"parquet": _parquet, "csv": _csv, "json": _json}
    with translated(f"{option}={place}: cannot read {_damaged(engine, paths, kind)}"):
        reader, types = readers[kind](engine, paths)
        engine.run("load", name=name, reader=reader)
    return Loaded(name=name, types=types, text=kind != "parquet", origin=f"{option}={place}")


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


def _parquet(engine: Engine, paths: list[Path]) -> tuple[str, dict[str, str]]:
    reader = f"read_parquet({listed(paths)}, union_by_name = true)"
    return reader, engine.types(reader)


def _csv(engine: Engine, paths: list[Path]) -> tuple[str, dict[str, str]]:
    options = f"{listed(paths)}, header = true, union_by_name = true"
    types = engine.types(f"read_csv({options}, sample_size = {SAMPLE})")
    return f"read_csv({options}, sample_size = {SAMPLE}, all_varchar = true)", types


def _json(engine: Engine, paths: list[Path]) -> tuple[str, dict[str, str]]:
    options = f"{listed(paths)}, format = 'newline_delimited'"
    types = engine.types(f"read_json({options}, union_by_name = true, sample_size = {SAMPLE})")
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in types)
    return f"read_json({options}, columns = {{{columns}}})", types
