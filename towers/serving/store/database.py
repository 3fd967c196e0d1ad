"""A SQLite file with one writing thread: all that waits is written in one transaction, with one fsync."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from towers.serving.store.store import StoreAwayError
from towers.types import DataError

Work = Callable[[sqlite3.Connection], Any]
"""What a caller wants done within a transaction. It returns no cursor, which belongs to the writing thread."""

GROUP = 512
"""How many callers at most share a transaction."""
LOCKED_S = 5.0
"""How long another process may keep the file locked, in seconds."""
SCRUB_MS, SCRUB_AGAIN_S = 100, 1.0
"""How long to wait for readers of what was deleted, and when to try again if they did not end."""
CACHE_KIB = 65_536
"""How much of the file the reading connection keeps, in KiB."""
ADVICE = {
    "SQLITE_FULL": "make room on its disk",
    "SQLITE_READONLY": "let this process write it: its owner, its mode, and how the disk is mounted",
    "SQLITE_BUSY": "another process keeps it locked; end that one",
    "SQLITE_CANTOPEN": "let this process make and open it: the folder's owner and mode",
    "SQLITE_IOERR": "make room on its disk, or mend the disk",
    "SQLITE_NOTADB": "name another file",
    "SQLITE_CORRUPT": "move it away and bring back a copy",
}
"""By the beginning of SQLite's own name of an error: what to do."""


@dataclass(frozen=True)
class Layout:
    """What a file holds.

    Attributes:
        what: It is called in messages.
        mark: Tells the file from those of other programs, SQLite's application_id.
        version: Of its tables; a file of another one is refused.
        tables: The statements that make them.
        older: By an older version the statements that make it the next one; `{now_ms}` in them is the time, ms UTC.
    """

    what: str
    mark: int
    version: int
    tables: tuple[str, ...]
    older: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Job:
    work: Work
    future: "asyncio.Future[Any]"
    scrub: bool


class Database:
    """A file that is read where one is and written by a thread of its own.

    Args:
        path: The file; it is made, and its folder, where there is none.
        layout: What it holds.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self.path = path
        self.trouble = ""
        """Why the last write failed; empty where it did not."""
        self._layout = layout
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._unscrubbed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Open or make the file, and start the thread.

        Raises:
            StoreAwayError: It cannot be opened or made.
            DataError: It is something else, or of another version.
        """
        if self._loop:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as undo:
                writer = undo.enter_context(closing(self._connect(check_same_thread=False)))
                self._prepare(writer)
                self._reader = undo.enter_context(closing(self._connect()))
                self._reader.execute("PRAGMA query_only=ON")
                self._reader.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
                undo.pop_all()
        except (sqlite3.Error, OSError) as error:
            raise self._away(error) from error
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._serve, args=(writer,), name=f"writes {self.path}", daemon=True)
        self._thread.start()

    def _connect(self, *, check_same_thread: bool = True) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=LOCKED_S, isolation_level=None, check_same_thread=check_same_thread)

    def _prepare(self, writer: sqlite3.Connection) -> None:
        writer.execute("BEGIN")  # or another process could make the file between two looks at it
        try:
            known = self._is_known(writer)
        finally:
            writer.execute("COMMIT")
        self._to_wal(writer)
        writer.execute("PRAGMA synchronous=FULL")
        writer.execute("PRAGMA secure_delete=ON")
        if known:
            return
        writer.execute("BEGIN IMMEDIATE")
        if not self._is_known(writer):  # it may have been made by another process in the meantime
            for statement in self._statements(writer):
                writer.execute(statement)
            writer.execute(f"PRAGMA application_id={self._layout.mark}")
            writer.execute(f"PRAGMA user_version={self._layout.version}")
        writer.execute("COMMIT")

    def _statements(self, writer: sqlite3.Connection) -> list[str]:
        """Return what makes a file of an older version, or a new one, what it should be."""
        version = writer.execute("PRAGMA user_version").fetchone()[0]
        if not version:
            return list(self._layout.tables)
        now_ms = time.time_ns() // 1_000_000
        older = [statement for each in range(version, self._layout.version) for statement in self._layout.older[each]]
        return [statement.format(now_ms=now_ms) for statement in older]

    def _is_known(self, writer: sqlite3.Connection) -> bool:
        """Return whether the file is what it should be; not if it is new, or of a version that can be made this one."""
        layout = self._layout
        mark, version = (writer.execute(f"PRAGMA {it}").fetchone()[0] for it in ("application_id", "user_version"))
        if (mark, version) == (layout.mark, layout.version):
            return True
        if mark == layout.mark and version in layout.older:
            return False
        if mark == layout.mark:
            raise DataError(
                f"{self.path} is {layout.what} of version {version}; this version of towers reads {layout.version}; "
                "name another file"
            )
        if mark or version or writer.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise DataError(f"{self.path} is a database, but not {layout.what}; name another file")
        return False

    @staticmethod
    def _to_wal(writer: sqlite3.Connection) -> None:
        """Write ahead from now on; SQLite itself does not wait for another process that is just doing the same."""
        until = time.monotonic() + LOCKED_S
        while True:
            try:
                writer.execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.005)
            else:
                return

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        if self._loop:
            self._loop = None
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
            self._reader.close()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        """Return the rows of a query, in this thread.

        Raises:
            StoreAwayError: The file cannot be read.
            DataError: A value that no file can hold.
        """
        try:
            return self._reader.execute(query, values).fetchall()
        except (OverflowError, UnicodeEncodeError) as error:
            raise DataError(
                f"{self.path} cannot look for {values!r}: {error}; give numbers of 64 bits and texts"
            ) from error
        except sqlite3.Error as error:
            raise self._away(error) from error

    async def write(self, work: Work, *, scrub: bool = False) -> Any:  # noqa: ANN401  it is what work returns
        """Do some work in a transaction; return what it returned once that is durable.

        Args:
            work: Called with the writing connection, in the writing thread.
            scrub: Whether what it deletes must leave the write-ahead log, too.

        Raises:
            StoreAwayError: The file cannot be written; nothing was.
            TypeError: The work returned a cursor; nothing was written.
        """
        if not self._loop:
            raise StoreAwayError(f"{self.path} is not open; open it first")
        future = self._loop.create_future()
        self._jobs.put(_Job(work, future, scrub))
        return await future

    async def probe(self) -> str:
        """Return why the file cannot be written, in a word or two; empty where it can."""
        if self.trouble or not self._loop:
            try:
                await self.write(_write_the_same)
            except StoreAwayError as error:
                return str(error)
        return ""

    def _serve(self, writer: sqlite3.Connection) -> None:
        """Write what comes until it is None."""
        more = True
        while more:
            try:
                group = [self._jobs.get(timeout=SCRUB_AGAIN_S if self._unscrubbed else None)]
            except Empty:
                self._scrub(writer)
                continue
            while len(group) < GROUP and not self._jobs.empty():
                group.append(self._jobs.get())
            jobs = [job for job in group if job]
            more = len(jobs) == len(group)
            if jobs:
                self._commit(writer, jobs)
        writer.close()

    def _commit(self, writer: sqlite3.Connection, jobs: list[_Job]) -> None:
        results: list[Any] = [None] * len(jobs)
        error: Exception | None = None
        try:
            writer.execute("BEGIN IMMEDIATE")
            results = [_without_cursor(job.work(writer)) for job in jobs]
            writer.execute("COMMIT")
        except Exception as problem:
            error = self._away(problem) if isinstance(problem, sqlite3.Error) else problem
            error.__cause__ = problem if error is not problem else None
            if writer.in_transaction:
                writer.execute("ROLLBACK")
        else:
            self._unscrubbed |= any(job.scrub for job in jobs)
        self.trouble = str(error or "")
        self._scrub(writer)
        # Futures belong to the loop's thread.
        jobs[0].future.get_loop().call_soon_threadsafe(_settle, jobs, results, error)

    def _scrub(self, writer: sqlite3.Connection) -> None:
        """Empty the write-ahead log of what was deleted, unless somebody still reads it."""
        if self._unscrubbed:
            writer.execute(f"PRAGMA busy_timeout={SCRUB_MS}")
            try:
                self._unscrubbed = bool(writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
            except sqlite3.Error as error:
                self.trouble = str(self._away(error))
            writer.execute(f"PRAGMA busy_timeout={LOCKED_S * 1000:.0f}")

    def _away(self, error: Exception) -> StoreAwayError:
        name = getattr(error, "sqlite_errorname", "")
        advice = next(
            (what for begin, what in ADVICE.items() if name.startswith(begin)), "look at the file and its disk"
        )
        return StoreAwayError(f"{self.path}: {error}; {advice}")


def _without_cursor(result: Any) -> Any:  # noqa: ANN401  it is what work returned
    # Let go of in the caller's thread it would reset its statement while this thread fills that again: SQLITE_MISUSE.
    if isinstance(result, sqlite3.Cursor):
        result.close()  # the error's own frames keep it
        raise TypeError("a cursor must not leave the thread that writes; return what it found")
    return result


def _write_the_same(writer: sqlite3.Connection) -> None:
    """Write the version that is there, which may be that of a newer program beside this one."""
    (version,) = writer.execute("PRAGMA user_version").fetchone()
    writer.execute(f"PRAGMA user_version={version}")


def _settle(jobs: list[_Job], results: list[Any], error: Exception | None) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.future.done():  # its caller was cancelled
            continue
        if error:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)
