"""Runs the statements of `sql/` in DuckDB, out of core, and says in our words what went wrong.

DuckDB is loaded when it is first needed: a service that starts needs none.
"""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from towers.types import ConfigError, DataError

if TYPE_CHECKING:
    import duckdb

_STATEMENTS = files("towers.data") / "sql"
_FULL = re.compile(r"no space left|disk.*full|max_temp_directory_size|could not allocate block", re.IGNORECASE)
_UNKNOWN = re.compile(r'Referenced column "([^"]+)" not found.*?Candidate bindings: ((?:"[^"]+"(?:, )?)*)')
_MEMORY = re.compile(r"\d+(\.\d+)?\s?([KMGT]i?B)")


class Engine:
    """A DuckDB database in a folder of its own, which holds all that does not fit into memory.

    Attributes:
        folder: Where the database and whatever spills out of memory lie; remove it afterwards.

    Example:
        >>> import tempfile
        >>> with Engine.opened(Path(tempfile.mkdtemp()), "1GB", 1) as engine:
        ...     engine.run("load", name="numbers", reader="range(3)")
        ...     engine.select("count_distinct", name="numbers", column="range")
        [(3,)]
    """

    def __init__(self, folder: Path, connection: "duckdb.DuckDBPyConnection") -> None:
        self.folder, self._connection = folder, connection

    @property
    def error(self) -> type[Exception]:
        """What the database raises."""
        import duckdb

        return duckdb.Error

    @property
    def unreadable(self) -> type[Exception]:
        """Which of that it raises about the content of a file."""
        import duckdb

        return duckdb.InvalidInputException

    @classmethod
    @contextmanager
    def opened(cls, folder: Path, memory: str, threads: int | None) -> Iterator["Engine"]:
        """Open a database in `folder`, and close it at the end of the block.

        Args:
            folder: An existing folder.
            memory: What DuckDB may hold before it spills, such as `2GB`.
            threads: How many threads; all cores when None. The result does not depend on it.

        Raises:
            ConfigError: `memory` or `threads` cannot be read.
        """
        import duckdb

        if _MEMORY.fullmatch(memory) is None:
            raise ConfigError(f"memory={memory}; expected a size such as 2GB or 500MB")
        if threads is not None and threads < 1:
            raise ConfigError(f"threads={threads}; expected 1 or more, or null for all cores")
        spilled = str(folder / "spilled")
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory,
            "temp_directory": spilled,
            "autoinstall_known_extensions": "false",
        }
        if threads is not None:
            config["threads"] = str(threads)
        connection = duckdb.connect(str(folder / "work.duckdb"), config=config)
        try:
            connection.execute("SET preserve_insertion_order = true; SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            yield cls(folder, connection)
        finally:
            connection.close()

    def run(self, statement: str, **words: str | int) -> None:
        """Execute `sql/<statement>.sql` with its {words} filled in."""
        self._connection.execute(text_of(statement, **words))

    def select(self, statement: str, **words: str | int) -> list[tuple[Any, ...]]:
        """Return the rows that `sql/<statement>.sql` selects, with its {words} filled in."""
        return self._connection.execute(text_of(statement, **words)).fetchall()

    def types(self, relation: str) -> dict[str, str]:
        """Return the columns of a table, or of anything that can be selected from, with their types."""
        found = self._connection.execute(f"DESCRIBE SELECT * FROM {relation}").fetchall()  # noqa: S608
        return {name: kind for name, kind, *_ in found}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn DuckDB's errors, and a full disk, into a DataError that says what we were doing.

    Raises:
        DataError: The block raised an error of DuckDB, or ran out of disk.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSPC:
            raise
        reason = " ".join(str(error).split())
        if isinstance(error, OSError) or _FULL.search(reason):
            remedy = "nothing was changed; free some space, or choose another dataset=DIR"
            raise DataError(f"{doing}: the disk is full ({reason}); {remedy}") from error
        if isinstance(error, duckdb.OutOfMemoryException):
            raise DataError(f"{doing}: out of memory ({reason}); allow more, such as memory=4GB") from error
        raise DataError(f"{doing}: {_in_our_words(reason)}") from error


def _in_our_words(reason: str) -> str:
    """Return what DuckDB says of a column that is not there, without what only it knows; all else as it is."""
    found = _UNKNOWN.search(reason)
    if not found:
        return reason
    near = [name for name in re.findall(r'"([^"]+)"', found[2]) if not name.startswith("towers_")]
    return f"there is no column {found[1]!r}{'; the nearest are ' + ', '.join(near) if near else ''}"


def text_of(statement: str, **words: str | int) -> str:
    """Return the text of `sql/<statement>.sql` with its {words} filled in."""
    return (_STATEMENTS / f"{statement}.sql").read_text(encoding="utf-8").format(**words)


def quoted(name: str) -> str:
    """Return the name of a column as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | Path) -> str:
    """Return a text as SQL writes it.

    Example:
        >>> literal("it's")
        "'it''s'"
    """
    return "'" + str(text).replace("'", "''") + "'"


def listed(texts: Sequence[str | Path]) -> str:
    """Return texts as a list in SQL."""
    return "[" + ", ".join(literal(text) for text in texts) + "]"
