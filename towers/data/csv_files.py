"""CSV files: one table of text, by the names in their headers."""

import csv
import gzip
import itertools
import logging
from dataclasses import dataclass
from pathlib import Path

from towers.data.engine import Engine, listed, literal, quoted
from towers.data.lines import ERRORS, keep_lines, load_lines, source_of
from towers.types import DataError

_log = logging.getLogger(__name__)
DELIMITERS = (",", "\t", ";", "|")
COUNTED = {"MISSING COLUMNS", "TOO MANY COLUMNS", "INVALID ENCODING"}
"""Errors after which DuckDB's reader goes on with the very next line."""
UNREADABLE = {"UNREADABLE"}
UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Header:
    """The first line of a file.

    Attributes:
        path: The file.
        delimiter: What stands between its cells.
        names: Of the columns.
    """

    path: Path
    delimiter: str
    names: list[str]


def load_csv(engine: Engine, name: str, paths: list[Path], origin: str) -> None:
    """Make a table of the rows, with their cells as text; lines that are no row go to `malformed`.

    DuckDB's reader takes cells that span lines, but where a quote is never closed it loses the lines behind. Then
    every line is split by itself instead, and a cell that spans lines is rejected.

    Args:
        engine: Where to.
        name: What the database calls the table.
        paths: The files; their columns are matched by name.
        origin: What the user calls them, for messages.

    Raises:
        DataError: A header is none, or two have nothing in common.
    """
    headers = [header for path in paths if (header := read_header(path)) is not None]
    if not headers:
        raise DataError(f"{origin} is empty; expected a header of column names, then a line per row")
    _check_headers(headers)
    errors = _load_records(engine, name, headers, parallel=True)
    if errors and not errors - COUNTED:
        # In parallel, DuckDB loses lines where two of its buffers meet near one that it cannot read; otherwise it is
        # silent about a quote that is still open at the end of a file.
        errors |= _load_records(engine, name, headers, parallel=False)
    if errors - COUNTED:
        _log.warning(
            "%s has quotes that are not closed, or line ends of two kinds, so every line was taken as a row of its own",
            origin,
        )
        engine.run("forget_table", name=name)
        engine.run("forget_load", name=name)
        _load_lines(engine, name, headers)
        keep_lines(engine, name)
    elif errors:
        engine.run("keep_errors", source=source_of(name))
    engine.run("forget_load", name=name)


def read_header(path: Path) -> Header | None:
    """Return the header of a file, None where the file is empty.

    Raises:
        DataError: It is no list of distinct names, or the file is no UTF-8.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            line = file.readline()
    except (EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{path} cannot be unpacked ({error}); fetch it again") from error
    if line.startswith(UTF_16):
        raise DataError(f"{path} is written in UTF-16; expected UTF-8; convert it")
    first = line.decode("utf-8-sig", errors="replace").rstrip("\r\n")
    if not first:
        return None
    delimiter = max(DELIMITERS, key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    if not all(names) or len({name.lower() for name in names}) < len(names) or not names:
        raise DataError(
            f"{path} begins with the line {first!r}; expected a header of column names that differ, not in case alone"
        )
    return Header(path, delimiter, names)


def _check_headers(headers: list[Header]) -> None:
    """Say which columns some of the files lack; refuse files that have none in common."""
    first = headers[0]
    for other in headers[1:]:
        if len(absent(first, other)) == len(first.names):
            raise DataError(
                f"{other.path} begins with {', '.join(other.names)} and {first.path} with {', '.join(first.names)}, so "
                "they have no column in common; give every file a header, and the same names in all"
            )
    for other in headers[1:]:
        for one, two in ((first, other), (other, first)):
            if lacking := ", ".join(absent(one, two)):
                _log.warning("%s has no column %s, which %s has; it is null there", two.path, lacking, one.path)
                return


def absent(here: Header, there: Header) -> list[str]:
    """Return the names of a header that another header lacks, whatever their case.

    Example:
        >>> absent(Header(Path("a.csv"), ",", ["Like", "tab"]), Header(Path("b.csv"), ";", ["like"]))
        ['tab']
    """
    known = {name.lower() for name in there.names}
    return [name for name in here.names if name.lower() not in known]


def _load_records(engine: Engine, name: str, headers: list[Header], *, parallel: bool) -> set[str]:
    """Load with DuckDB's reader; return the kinds of errors that it met."""
    engine.run("forget_table", name=name)
    engine.run("forget_load", name=name)
    parts = [
        _reader([header.path for header in alike], delimiter, names, parallel=parallel)
        for (delimiter, names), alike in itertools.groupby(headers, lambda header: (header.delimiter, header.names))
    ]
    together = " UNION ALL BY NAME ".join(f"FROM {part}" for part in parts)
    try:
        engine.run("load", name=name, reader=f"({together})")
    except engine.unreadable:
        return UNREADABLE
    return {kind for (kind,) in engine.select("count_errors")}


def _reader(paths: list[Path], delimiter: str, names: list[str], *, parallel: bool) -> str:
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    options = (
        f"header = true, auto_detect = false, delim = {literal(delimiter)}, quote = '\"', escape = '\"', "
        f"parallel = {str(parallel).lower()}, {ERRORS}"
    )
    return f"read_csv({listed(paths)}, {options}, columns = {{{columns}}})"


def _load_lines(engine: Engine, name: str, headers: list[Header]) -> None:
    load_lines(engine, name, [header.path for header in headers])
    given = ", ".join(
        f"({literal(header.path)}, {literal(header.delimiter)}, {listed([name.lower() for name in header.names])})"
        for header in headers
    )
    engine.run("judge_csv_lines", name=name, headers=given)
    # DuckDB takes names that differ in case alone for the same, and calls it as the first of them.
    columns: dict[str, str] = {}
    for column in itertools.chain.from_iterable(header.names for header in headers):
        columns.setdefault(column.lower(), column)
    cells = [
        f"nullif(cells[list_position(names, {literal(key)})], '') AS {quoted(column)}"
        for key, column in columns.items()
    ]
    engine.run("load_csv_lines", name=name, columns=", ".join(cells))
