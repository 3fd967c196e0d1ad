"""Text files read line by line, so that a line that is no row costs no other line."""

import logging
from pathlib import Path

from towers.data.engine import Engine, listed, literal

_log = logging.getLogger(__name__)
BETWEEN_CELLS = "\x1f\x1e"
"""What no text holds, so that a line stays one cell."""
LONGEST = 16 * 2**20
"""Bytes of a line; longer ones are rejected."""
ERRORS = "store_rejects = true, rejects_table = 'towers_errors', rejects_scan = 'towers_scans'"
"""Options of DuckDB's reader: go on after a line that is no row, and keep it apart."""


def load_lines(engine: Engine, name: str, paths: list[Path]) -> None:
    """Make `<name>_lines` of all lines, with their file and their place among all."""
    # In parallel, DuckDB loses lines where two of its buffers meet near one that it cannot read.
    options = (
        f"delim = {literal(BETWEEN_CELLS)}, quote = '', escape = '', header = false, auto_detect = false, "
        f"columns = {{'line': 'VARCHAR'}}, filename = true, strict_mode = false, parallel = false, "
        f"max_line_size = {LONGEST}, {ERRORS}"
    )
    engine.run("load_lines", name=name, reader=f"read_csv({listed(paths)}, {options})")


def keep_lines(engine: Engine, name: str) -> None:
    """Move what `<name>_parsed` has a reason against, and what could not be read at all, to `malformed`."""
    engine.run("keep_lines", name=name, source=source_of(name))


def source_of(name: str) -> str:
    """Return what rejected rows of a table call it.

    Example:
        >>> source_of("raw_events")
        'events'
    """
    return name.removeprefix("raw_")


def warn_of_malformed(engine: Engine, name: str, option: str) -> None:
    """Say that some lines of a table could not be read, and where the first of them stands."""
    for file, line, reason, count in engine.select("first_malformed", source=source_of(name)):
        lines = "1 line is no row" if count == 1 else f"{count:,} lines are no rows, the first"
        _log.warning("%s: %s, line %d of %s: %s; they go to rejected.parquet", option, lines, line, file, reason)
