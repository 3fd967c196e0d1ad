"""What waits on this machine's disk to be brought to a store that is away."""

import sqlite3
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from towers.serving.store.database import Database, Layout
from towers.serving.store.store import Answer, Event, Id, StoreAwayError, now_ms
from towers.serving.store.watched import pack, unpack_answer, unpack_event
from towers.types import hold_alone

Entry = Event | Answer
EVENT, ANSWER = 0, 1
LAYOUT = Layout(
    what="a spool",
    mark=0x54775370,
    version=1,
    tables=(
        "CREATE TABLE waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, user NOT NULL, kind INTEGER NOT NULL, "
        "id TEXT NOT NULL, time_ms INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (user, kind, id))",
    ),
)
NOBODY = b""
"""Stands for the user of an answer to somebody without an id."""


class Waiting:
    """A queue in a file, of one process.

    Args:
        path: The file; it is made where there is none.
    """

    def __init__(self, path: Path) -> None:
        self._database = Database(path, LAYOUT)

    def open(self) -> None:
        """Open the file for this process alone.

        Raises:
            StoreAwayError: It cannot be opened, or another process has it.
            DataError: It is something else, or of another version.
        """
        path = self._database.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = Path(f"{path}.lock").open("w", encoding="utf-8")  # noqa: SIM115  held until close
        except OSError as error:
            raise StoreAwayError(f"{path}: {error}; let this process make and open it") from error
        hold_alone(self._lock, StoreAwayError(f"{path} is the spool of another process; give each its own"))
        try:
            self._database.open()
        except BaseException:
            self._lock.close()
            raise

    async def close(self) -> None:
        """Write what is on its way, and let go of the file."""
        await self._database.close()
        self._lock.close()

    async def keep(self, entries: Sequence[Entry]) -> list[bool]:
        """Add entries; return for each whether it was not waiting already.

        Raises:
            StoreAwayError: The disk does not take them; none was added.
        """
        came_ms = now_ms()
        rows = [_row(entry, came_ms) for entry in entries]
        query = "INSERT INTO waiting (user, kind, id, time_ms, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
        return await self._database.write(lambda writer: [writer.execute(query, row).rowcount == 1 for row in rows])

    def count(self) -> int:
        """Return how many wait."""
        return self._database.read("SELECT count(*) FROM waiting")[0][0]

    def first(self, most: int) -> list[tuple[list[Event], list[Answer], int]]:
        """Return what waits longest, in runs of events or of answers, each with the number of its last."""
        rows = self._database.read("SELECT kind, body, number FROM waiting ORDER BY number LIMIT ?", (most,))
        runs: list[tuple[list[Event], list[Answer], int]] = []
        for kind, run in groupby(rows, key=itemgetter(0)):
            own = list(run)
            bodies, last = [body for _, body, _ in own], own[-1][2]
            events, answers = (map(unpack_event, bodies), ()) if kind == EVENT else ((), map(unpack_answer, bodies))
            runs.append((list(events), list(answers), last))
        return runs

    def of(self, user: Id) -> tuple[list[Event], list[Answer]]:
        """Return what waits of a user, in the order in which it came."""
        rows = self._database.read("SELECT kind, body FROM waiting WHERE user = ? ORDER BY number", (user,))
        return (
            [unpack_event(body) for kind, body in rows if kind == EVENT],
            [unpack_answer(body) for kind, body in rows if kind == ANSWER],
        )

    async def delivered(self, last: int) -> int:
        """Let go of all up to a number; return how many."""

        def work(writer: sqlite3.Connection) -> int:
            return writer.execute("DELETE FROM waiting WHERE number <= ?", (last,)).rowcount

        return await self._database.write(work)

    async def forget(self, user: Id, until_ms: int) -> int:
        """Let go of what came of a user up to a moment; return how much it was."""

        def work(writer: sqlite3.Connection) -> int:
            return writer.execute("DELETE FROM waiting WHERE user = ? AND time_ms <= ?", (user, until_ms)).rowcount

        return await self._database.write(work, scrub=True)

    async def scrub(self) -> None:
        """Take what was delivered out of the file's write-ahead log, too."""
        await self._database.write(lambda _: None, scrub=True)


def _row(entry: Entry, came_ms: int) -> tuple[Id | bytes, int, str, int, bytes]:
    # The column time_ms is of when it came: phones' clocks say anything.
    if isinstance(entry, Event):
        return entry.user_id, EVENT, entry.event_id, came_ms, pack(entry)
    user = NOBODY if entry.user_id is None else entry.user_id
    return user, ANSWER, entry.request_id, came_ms, pack(entry)
