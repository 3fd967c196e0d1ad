"""The store of one machine: a SQLite file."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from towers.serving.store.database import Database, Layout
from towers.serving.store.marks import number_of
from towers.serving.store.store import (
    Answer,
    Change,
    ChangeKind,
    Event,
    Export,
    Health,
    Id,
    Store,
    Watched,
    now_ms,
    refuse_lost,
)
from towers.serving.store.watched import pack, unpack_answer, unpack_change, unpack_event, unpack_watched, with_more

EVENT, ANSWER = 0, 1
# Columns without a type keep a number a number and a text a text, so that 7 is not "7".
CAME = "CREATE INDEX came ON log (came_ms)"
LAYOUT = Layout(
    what="a store",
    mark=0x54775374,
    version=2,
    tables=(
        "CREATE TABLE log (number INTEGER PRIMARY KEY AUTOINCREMENT, user NOT NULL, kind INTEGER NOT NULL, "
        "id TEXT NOT NULL, body BLOB NOT NULL, came_ms INTEGER NOT NULL, UNIQUE (user, kind, id))",
        "CREATE TABLE histories (user NOT NULL PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, of_user INTEGER NOT NULL, id NOT NULL, "
        "body BLOB NOT NULL, UNIQUE (of_user, id))",
        CAME,
    ),
    # As if all had come when the file was first opened by who keeps that.
    older={1: ("ALTER TABLE log ADD COLUMN came_ms INTEGER NOT NULL DEFAULT {now_ms}", CAME)},
)
NOBODY = b""
"""Stands for the user of an answer to somebody without an id."""
LOG = "INSERT INTO log (user, kind, id, body, came_ms) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
FORGET = "DELETE FROM log WHERE number IN (SELECT number FROM log WHERE came_ms < ? LIMIT ?)"
HISTORY = "SELECT body FROM histories WHERE user = ?"


class SqliteStore(Store):
    """Keeps all in a file; several processes may use it at once.

    What is acknowledged survives a kill and a loss of power: it was written ahead and synced (journal_mode=WAL,
    synchronous=FULL). Callers who wait at the same time share a transaction and its sync. A history is one row, read
    in the caller's thread. What is erased is overwritten, in the file and in its write-ahead log.

    Args:
        path: The file, on a local disk; it is made, and its folder, where there is none.
        longest: How many positives of a user are kept as history. A history that was kept when this was less grows to
            it by what comes from then on.

    Raises:
        DataError: From `open`: the file is something else, or of another version.
    """

    def __init__(self, path: str | Path, longest: int = 1000) -> None:
        super().__init__(longest)
        self._database = Database(Path(path), LAYOUT)

    async def open(self) -> None:
        """Open or make the file, see Store."""
        self._database.open()

    async def close(self) -> None:
        """Write what waits, and let go of the file."""
        await self._database.close()

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, see Store."""
        came_ms = now_ms()
        rows = [(event.user_id, EVENT, event.event_id, pack(event), came_ms) for event in events]

        def work(writer: sqlite3.Connection) -> list[bool]:
            new = [writer.execute(LOG, row).rowcount == 1 for row in rows]
            more: dict[Id, Watched] = {}
            for event, is_new in zip(events, new, strict=True):
                if is_new and event.positive:
                    more.setdefault(event.user_id, []).append((event.video_id, event.time_ms))
            for user, watched in more.items():
                known = writer.execute(HISTORY, (user,)).fetchone()
                history = with_more(unpack_watched(known[0]) if known else [], watched, self.longest)
                writer.execute("REPLACE INTO histories VALUES (?, ?)", (user, pack(history)))
            return new

        return await self._database.write(work)

    async def history(self, user_id: Id) -> Watched:
        """Return a user's newest positives, see Store."""
        found = self._database.read(HISTORY, (user_id,))
        return unpack_watched(found[0][0])[-self.longest :] if found else []

    async def change(self, changes: Sequence[Change]) -> int:
        """Keep changes, see Store."""
        rows = [(change.kind is ChangeKind.erase, change.id, pack(change)) for change in changes]

        def work(writer: sqlite3.Connection) -> int:
            for erases, what, body in rows:
                if erases:
                    writer.execute("DELETE FROM log WHERE user = ?", (what,))
                    writer.execute("DELETE FROM histories WHERE user = ?", (what,))
                writer.execute("REPLACE INTO changes (of_user, id, body) VALUES (?, ?, ?)", (erases, what, body))
            last = writer.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
            return last[0] if last else 0

        return await self._database.write(work, scrub=any(erases for erases, _, _ in rows))

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        """Return changes with numbers above `after` in order, see Store."""
        query = "SELECT number, body FROM changes WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._database.read(query, (after, most))
        if not rows:
            last = self._database.read("SELECT seq FROM sqlite_sequence WHERE name = 'changes'", ())
            refuse_lost(after, last[0][0] if last else 0)
        return [structs.replace(unpack_change(body), number=number) for number, body in rows]

    async def answered(self, answers: Sequence[Answer]) -> None:
        """Keep what was shown, see Store."""
        came_ms = now_ms()
        rows = [(_whom(answer.user_id), ANSWER, answer.request_id, pack(answer), came_ms) for answer in answers]
        await self._database.write(lambda writer: writer.executemany(LOG, rows).rowcount)

    async def log(self, after: str = "", most: int = 1000) -> tuple[list[Event | Answer], str]:
        """Return what came after a mark, see Store."""
        query = "SELECT number, kind, body FROM log WHERE number > ? ORDER BY number LIMIT ?"
        rows = self._database.read(query, (number_of(after), most))
        return [_unpacked(kind, body) for _, kind, body in rows], str(rows[-1][0]) if rows else after

    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        """Drop what came before a moment, see Store; its room in the file is used again."""
        return await self._database.write(lambda writer: writer.execute(FORGET, (time_ms, most)).rowcount)

    async def export(self, user_id: Id) -> Export:
        """Return all that is known of a user, see Store."""
        rows = self._database.read("SELECT kind, body FROM log WHERE user = ? ORDER BY number", (user_id,))
        return Export(
            events=[unpack_event(body) for kind, body in rows if kind == EVENT],
            history=await self.history(user_id),
            answers=[unpack_answer(body) for kind, body in rows if kind == ANSWER],
        )

    async def health(self) -> Health:
        """Return how it does; after a write that failed it tries one."""
        return Health(away=await self._database.probe())


def _whom(user_id: Id | None) -> Id | bytes:
    return NOBODY if user_id is None else user_id


def _unpacked(kind: int, body: bytes) -> Event | Answer:
    return unpack_event(body) if kind == EVENT else unpack_answer(body)
