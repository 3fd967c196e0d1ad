"""What the store in a file does under kills, on bad disks and with files that are not its own."""

import asyncio
import os
import random
import shlex
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.stores import Place, erase, event, largest_file, put
from towers.serving.store import Answer, SqliteStore, Store, StoreAwayError
from towers.serving.store.database import Database
from towers.serving.store.sqlite import LAYOUT
from towers.serving.store.watched import pack
from towers.types import DataError

ROUNDS = int(os.environ.get("TOWERS_KILLS", "24"))
"""How often a writing process is killed; hundreds are a longer test."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place("sqlite", str(tmp_path / "state.db"), longest=1_000_000)


def killed(place: Place, who: str, after: int) -> list[tuple[str, str]]:
    """Let a process write, kill it after so many acknowledgements; return all it got, also those not yet read."""
    command = place.command("write_for_ever", who)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(after)]
        writer.kill()
        lines += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    return [(what, name) for what, _, name in (line.rstrip("\n").partition(" ") for line in lines if line[-1:] == "\n")]


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_a_kill_at_any_moment_loses_nothing_acknowledged(place: Place) -> None:
    moments, acknowledged = random.Random(0), dict[str, str]()  # noqa: S311  the moments need not be hard to guess

    async def check(store: Store) -> None:
        history = await store.history(7)
        export = await store.export(7)
        watched, logged = {video for video, _ in history}, {one.event_id for one in export.events}
        changes = await store.changes(0)
        changed = {change.id for change in changes}
        for name, what in acknowledged.items():
            if what == "appended":
                assert name in watched
                assert {name, f"{name}-seen"} <= logged
            else:
                assert name in changed
            if what == "erased":
                assert (await store.export(name)).events == []
        assert len(watched) == len(history) == len([one for one in export.events if one.positive])
        assert [change.number for change in changes] == list(range(1, len(changes) + 1))

    for turn in range(ROUNDS):
        acknowledged |= {name: what for what, name in killed(place, str(turn), moments.randrange(1, 60))}
        place.run(check)
    assert {"appended", "changed", "erased"} == set(acknowledged.values())


def unshared(command: list[str], folder: Path, size: str) -> list[str]:
    """What runs a command with a disk of that size at a folder, which nobody else sees."""
    mounted = f"mount -t tmpfs -o size={size} none {shlex.quote(str(folder))} && exec {shlex.join(command)}"
    return ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted]


def test_a_full_disk_refuses_and_once_there_is_room_it_goes_on(tmp_path: Path) -> None:
    if subprocess.run(unshared(["true"], tmp_path, "1m"), capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no process mount a small disk for itself (unshare --map-root-user --mount)")
    path = tmp_path / "state.db"
    command = unshared(Place("sqlite", str(path)).command("fill_the_disk", tmp_path / "ballast"), tmp_path, "2m")
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    taken = lines.index(next(line for line in lines if line.startswith("refused")))
    assert lines[:taken] == [f"appended {i}" for i in range(taken)]
    assert taken > 10
    refusal = f"{path}: database or disk is full; make room on its disk"
    assert lines[taken:] == [f"refused {refusal}", f"history {taken}", "health ", "appended last"]


def test_a_write_that_fails_acknowledges_none_of_those_who_share_it(place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("first")])
        many = [[event(f"{i}", video_id="x" * 2000)] for i in range(40)]
        with largest_file(Path(f"{place.where}-wal").stat().st_size + 30_000):
            outcomes = await asyncio.gather(*(store.append(one) for one in many), return_exceptions=True)
        refused = [one for one, outcome in zip(many, outcomes, strict=True) if isinstance(outcome, StoreAwayError)]
        assert len(refused) > 10
        assert "make room on its disk, or mend the disk" in (await _why(outcomes))
        assert (await store.health()).away == ""
        assert [(await store.append(one))[0] for one in many] == [one in refused for one in many]
        assert len(await store.history(7)) == 41

    place.run(scenario)


async def _why(outcomes: list[list[bool] | BaseException]) -> str:
    return next(str(outcome) for outcome in outcomes if isinstance(outcome, BaseException))


def test_a_file_that_another_keeps_locked_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towers.serving.store.database.LOCKED_S", 0.05)

    async def scenario(store: Store) -> None:
        other = sqlite3.connect(place.where, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreAwayError, match=r"state\.db: database is locked; another process keeps it locked"):
            await store.append([event("a")])
        assert "database is locked" in (await store.health()).away
        other.close()
        assert await store.append([event("a")]) == [True]
        assert (await store.health()).away == ""

    place.run(scenario)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "state.db", tmp_path):
        with pytest.raises(StoreAwayError, match=f"{tmp_path}.*(exists|unable to open|directory).*; "):
            Place("sqlite", str(path)).run(lambda store: store.health())


def test_files_that_are_something_else_are_refused_and_left_alone(place: Place) -> None:
    path = Path(place.where)
    path.write_text("user,video\n" * 1000)
    with pytest.raises(StoreAwayError, match=r"state\.db: file is not a database; name another file"):
        place.run(lambda store: store.health())
    assert path.read_text() == "user,video\n" * 1000
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    content = path.read_bytes()
    with pytest.raises(DataError, match=r"state\.db is a database, but not a store; name another file"):
        place.run(lambda store: store.health())
    assert path.read_bytes() == content


def test_a_file_of_another_version_is_refused_by_name(place: Place) -> None:
    place.run(lambda store: store.append([event("a")]))
    other = sqlite3.connect(place.where)
    other.execute("PRAGMA user_version=9")
    other.close()
    with pytest.raises(DataError, match=r"state\.db is a store of version 9; this version of towers reads 2"):
        place.run(lambda store: store.health())


def test_what_came_while_the_clock_was_ahead_keeps_nothing_else_from_being_dropped(place: Place) -> None:
    place.run(lambda store: store.append([event("ahead"), event("old")]))
    with sqlite3.connect(place.where) as other:
        other.execute("UPDATE log SET came_ms = 9e15 WHERE id = 'ahead'")
    other.close()
    assert place.run(lambda store: store.forget_before(2**52, most=1)) == 1
    assert [each.event_id for each in place.run(lambda store: store.export(7)).events] == ["ahead"]


def test_a_file_that_did_not_keep_when_things_came_does_so_from_now_on(place: Place) -> None:
    Path(place.where).parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(place.where) as old:
        for statement in LAYOUT.tables[:3]:
            old.execute(statement.replace("came_ms INTEGER NOT NULL, ", ""))
        old.execute("INSERT INTO log (user, kind, id, body) VALUES (7, 0, 'a', ?)", (pack(event("a")),))
        old.execute(f"PRAGMA application_id={LAYOUT.mark}")
        old.execute("PRAGMA user_version=1")
    old.close()
    before_ms = time.time_ns() // 1_000_000

    async def scenario(store: Store) -> None:
        assert await store.append([event("a"), event("b")]) == [False, True]
        assert [each.event_id for each in (await store.export(7)).events] == ["a", "b"]
        assert await store.forget_before(before_ms) == 0
        assert await store.forget_before(2**53) == 2

    place.run(scenario)
    assert place.run(lambda store: store.append([event("a")])) == [True]


def test_what_is_erased_leaves_the_files(place: Place) -> None:
    said = "said-by-nobody-else"

    def bytes_on_disk() -> bytes:
        return b"".join(path.read_bytes() for path in Path(place.where).parent.iterdir())

    async def scenario(store: Store) -> None:
        for i in range(30):
            await store.append([event(f"{i}", video_id=f"{said}-{i}", labels={"said": said})])
        answer = Answer(request_id="r", user_id=7, time_ms=1, path=said, bundle_version="", video_ids=[])
        await store.answered([answer])
        await store.append([event("other", user_id=8, video_id="kept-of-another")])
        assert said.encode() in bytes_on_disk()
        await store.change([erase(7)])
        assert said.encode() not in bytes_on_disk()
        assert b"kept-of-another" in bytes_on_disk()

    place.run(scenario)


def test_what_somebody_still_reads_leaves_the_files_when_they_are_done(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.serving.store.database.SCRUB_AGAIN_S", 0.01)
    log = Path(f"{place.where}-wal")

    async def scenario(store: Store) -> None:
        await store.append([event("a", video_id="said-by-nobody-else")])
        reader = sqlite3.connect(place.where, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM log").fetchall()
        await store.change([erase(7)])
        assert b"said-by-nobody-else" in log.read_bytes()
        reader.close()
        while log.stat().st_size:
            await asyncio.sleep(0.01)
        assert b"said-by-nobody-else" not in Path(place.where).read_bytes()

    place.run(scenario)


def test_processes_may_make_the_file_together(place: Place) -> None:
    writers = [subprocess.Popen(place.command("append", who, 8)) for who in "abcdef"]
    assert [writer.wait() for writer in writers] == [0] * 6
    assert len(place.run(lambda store: store.history(7))) == 48


def test_a_caller_who_went_away_disturbs_nobody(place: Place) -> None:
    async def scenario(store: Store) -> None:
        impatient = asyncio.create_task(store.append([event("a")]))
        patient = asyncio.create_task(store.append([event("b")]))
        await asyncio.sleep(0)
        impatient.cancel()
        assert await patient == [True]
        assert sorted(one.event_id for one in (await store.export(7)).events) == ["a", "b"]

    place.run(scenario)


def test_no_cursor_leaves_the_thread_that_writes(tmp_path: Path) -> None:
    # One that was let go of where it was not made reset a statement that the writer was just filling: SQLITE_MISUSE.
    async def whole() -> None:
        database = Database(tmp_path / "it.db", LAYOUT)
        database.open()
        try:
            with pytest.raises(TypeError, match="a cursor must not leave the thread that writes") as refused:
                await database.write(lambda writer: writer.execute("INSERT INTO histories VALUES (1, x'')"))
            frames = [each.frame.f_locals for each in refused.traceback]
            (cursor,) = {
                id(one): one for own in frames for one in own.values() if isinstance(one, sqlite3.Cursor)
            }.values()
            with pytest.raises(sqlite3.ProgrammingError, match="closed cursor"):
                cursor.fetchone()
            assert database.read("SELECT count(*) FROM histories") == [(0,)]
        finally:
            await database.close()

    asyncio.run(whole())


def test_closing_writes_what_waits(place: Place) -> None:
    async def scenario(store: Store) -> asyncio.Task[int]:
        waiting = asyncio.create_task(store.change([put(i) for i in range(100)]))
        await asyncio.sleep(0)
        return waiting

    async def whole() -> int:
        store = place.store()
        await store.open()
        waiting = await scenario(store)
        await store.close()
        await store.close()
        return await waiting

    assert asyncio.run(whole()) == 100
    assert len(place.run(lambda store: store.changes(0))) == 100


def test_a_store_that_is_not_open_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreAwayError, match=r"state\.db is not open; open it first"):
        asyncio.run(SqliteStore(tmp_path / "state.db").append([event("a")]))


@pytest.mark.parametrize("user", [2**63, "\ud800"])
def test_ids_that_no_file_can_hold_are_refused(place: Place, user: int | str) -> None:
    with pytest.raises(DataError, match="give numbers of 64 bits and texts"):
        place.run(lambda store: store.history(user))
