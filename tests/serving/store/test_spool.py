"""What comes while Redis is away: kept here, delivered in order, once."""

import asyncio
import shutil
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.stores import Place, Server, erase, event, largest_file, put
from towers.serving.store import (
    Answer,
    Event,
    Health,
    MemoryStore,
    RedisState,
    SpooledStore,
    StoreAwayError,
    now_ms,
)
from towers.serving.store.redis import RedisStore

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"),
    reason="redis-server is not installed; on Debian and Ubuntu: apt install redis-server",
)


@pytest.fixture
def server() -> Iterator[Server]:
    own = Server()
    own.start()
    yield own
    own.stop()


def answer(request_id: str, user_id: int | None = 7, time_ms: int = 1000) -> Answer:
    return Answer(
        request_id=request_id, user_id=user_id, time_ms=time_ms, path="popular", bundle_version="v1", video_ids=[1]
    )


def run(
    server: Server,
    path: Path,
    scenario: Callable[[SpooledStore], Awaitable[None]],
    longest: int = 10_000,
    timeout_ms: int = 2000,
) -> None:
    async def whole() -> None:
        store = SpooledStore(RedisStore(server.url, longest, timeout_ms=timeout_ms), path, pauses_s=(0.01, 0.05))
        await store.open()
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(whole())


def test_a_store_that_is_not_there_yet_gets_all_in_order(server: Server, tmp_path: Path) -> None:
    server.kill()
    came: list[Event | Answer] = [
        event("b", time_ms=5),
        answer("r"),
        event("a", time_ms=3),
        event("seen", positive=False),
        answer("q", None),
    ]

    async def scenario(store: SpooledStore) -> None:
        for one in came:
            if isinstance(one, Event):
                assert await store.append([one]) == [True]
            else:
                await store.answered([one])
        assert await store.append([event("b", time_ms=5)]) == [False]
        assert await store.history(7) == [(1, 3), (1, 5)]
        health = await store.health()
        assert health.waiting == 5
        assert "redis.sock" in health.away
        server.start()
        await store.settled()
        assert await store.health() == Health()
        assert await store.history(7) == [(1, 3), (1, 5)]
        found, _ = await store.log()
        assert [one for one in found if one.user_id == 7] == came[:4]
        assert [one for one in found if one.user_id is None] == came[4:]
        assert await store.append([event("b", time_ms=5)]) == [False]

    run(server, tmp_path / "spool.db", scenario)


def test_while_the_server_comes_and_goes_each_event_arrives_once_and_in_order(server: Server, tmp_path: Path) -> None:
    tasks, each = 8, 150

    async def scenario(store: SpooledStore) -> None:
        sent = count()

        async def send(who: int) -> None:
            for i in range(each):
                one = event(f"{who}-{i}", video_id=f"{who}-{i}", time_ms=i)
                await store.append([one])
                await store.append([one])
                history = await store.history(7)
                assert history.count((one.video_id, i)) == 1
                if next(sent) % 200 == 100:
                    await asyncio.gather(*restarts)
                    server.kill()
                    restarts.append(asyncio.create_task(asyncio.to_thread(server.start)))

        restarts: list[asyncio.Task[None]] = []
        await asyncio.gather(*(send(who) for who in range(tasks)))
        await asyncio.gather(*restarts)
        await store.settled()
        assert len(restarts) == 6
        logged = [one.event_id for one in (await store.log(most=10_000))[0] if isinstance(one, Event)]
        assert len(logged) == len(set(logged)) == tasks * each
        for who in range(tasks):
            own = [name for name in logged if name.startswith(f"{who}-")]
            assert own == [f"{who}-{i}" for i in range(each)]
        assert sorted(await store.history(7)) == sorted((f"{w}-{i}", i) for w in range(tasks) for i in range(each))

    run(server, tmp_path / "spool.db", scenario)


def test_what_came_nevertheless_is_there_once(server: Server, tmp_path: Path) -> None:
    """A server that hangs takes what it was sent when it goes on, though nobody waited for it."""

    async def scenario(store: SpooledStore) -> None:
        await store.append([event("a", time_ms=1)])
        server.process.send_signal(signal.SIGSTOP)
        assert await store.append([event("b", time_ms=2)]) == [True]
        assert await store.history(7) == [(1, 1), (1, 2)]
        server.process.send_signal(signal.SIGCONT)
        await store.settled()
        assert await store.history(7) == [(1, 1), (1, 2)]
        assert [one.event_id for one in (await store.export(7)).events] == ["a", "b"]

    run(server, tmp_path / "spool.db", scenario, timeout_ms=200)


def test_histories_go_on_from_what_is_known(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        other = RedisStore(server.url, 3)
        await other.open()
        await other.append([event(str(i), video_id=i, time_ms=i) for i in (1, 2, 3)])
        await other.append([event("x", user_id=9, time_ms=1)])
        await other.close()
        assert await store.history(7) == [(1, 1), (2, 2), (3, 3)]
        await store.append([event("4", video_id=4, time_ms=4), event("4", user_id=8)])
        server.kill()
        assert await store.history(7) == [(2, 2), (3, 3), (4, 4)]
        assert await store.history(8) == [(1, 1000)]
        assert await store.history(9) == []
        await store.append([event("5", video_id=5, time_ms=2), event("y", user_id=9, time_ms=2)])
        assert await store.history(7) == [(5, 2), (3, 3), (4, 4)]
        assert await store.history(9) == [(1, 2)]
        server.start()
        await store.settled()
        assert await store.history(7) == [(5, 2), (3, 3), (4, 4)]
        assert await store.history(9) == [(1, 1), (1, 2)]

    run(server, tmp_path / "spool.db", scenario, longest=3)


def test_what_was_delivered_is_known_when_it_is_away_again(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        assert await store.history(7) == []
        server.kill()
        await store.append([event("a")])
        server.start()
        await store.settled()
        server.kill()
        assert await store.history(7) == [(1, 1000)]
        server.start()

    run(server, tmp_path / "spool.db", scenario)


def test_changes_are_refused_while_it_is_away(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        assert await store.change([put(1)]) == 1
        server.kill()
        for refused in (store.change([put(2)]), store.changes(0), store.log(), store.export(7)):
            with pytest.raises(StoreAwayError, match=r"redis\.sock: .*; see that Redis runs there"):
                await refused
        server.start()
        await store.settled()
        assert [change.number for change in await store.changes(0)] == [1]
        assert await store.change([put(2)]) == 2

    run(server, tmp_path / "spool.db", scenario)


def test_an_erasure_is_taken_once_nothing_can_come_after_it(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        await store.append([event("before")])
        server.kill()
        for i in range(30):
            await store.append([event(f"{i}-{j}", user_id=7 + j % 2) for j in range(100)])
        server.start()
        refusals = []
        while True:
            try:
                await store.change([erase(7)])
            except StoreAwayError as error:
                refusals.append(str(error))
                await asyncio.sleep(0)
            else:
                break
        assert any("events and answers wait to be delivered; ask again when they are" in one for one in refusals)
        assert (await store.export(7)).events == []
        assert len((await store.export(8)).events) == 1500
        server.kill()
        assert await store.history(7) == []
        server.start()

    run(server, tmp_path / "spool.db", scenario)


def test_what_came_before_others_erased_the_user_is_not_delivered(server: Server, tmp_path: Path) -> None:
    erased_ms = [0]

    async def before(store: SpooledStore) -> None:
        await store.append([event("known")])
        server.kill()
        await store.append([event("old", time_ms=2**50), event("other", user_id=8)])  # by a clock that is far ahead
        await store.answered([answer("old", time_ms=2000)])
        erased_ms[0] = now_ms()
        while now_ms() <= erased_ms[0]:
            await asyncio.sleep(0)
        await store.append([event("new", time_ms=1)])

    async def erases() -> None:
        other = RedisStore(server.url)
        await other.open()
        await other.change([put(1), erase(7, time_ms=erased_ms[0])])
        await other.close()

    async def after(store: SpooledStore) -> None:
        await store.settled()
        export = await store.export(7)
        assert ([one.event_id for one in export.events], export.answers) == (["new"], [])
        assert len((await store.export(8)).events) == 1

    run(server, tmp_path / "spool.db", before)
    server.start()
    asyncio.run(erases())
    run(server, tmp_path / "spool.db", after)


@pytest.mark.parametrize("before", ["another is delivered", "its own are delivered"])
def test_who_is_erased_while_what_waits_is_delivered_stays_so(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    # Events and answers in turns, so that what is read at once is brought in many calls.
    append, others = RedisStore.append, ([event("x", user_id=8)], [event("y", user_id=7)])

    async def append_late(own: RedisStore, events: list[Event]) -> list[bool]:
        if [one.event_id for one in events] == ["x" if before == "another is delivered" else "y"]:
            other = RedisStore(server.url)
            await other.open()
            await other.change([erase(7, time_ms=now_ms())])
            await other.close()
        return await append(own, events)

    async def scenario(store: SpooledStore) -> None:
        server.kill()
        for number, events in enumerate(others):
            await store.append(events)
            await store.answered([answer(f"r{number}")])
        await store.append([event("z", user_id=9)])
        monkeypatch.setattr(RedisStore, "append", append_late)
        server.start()
        await store.settled()
        export = await store.export(7)
        assert (export.events, export.history, export.answers) == ([], [], [])
        assert [len((await store.export(user)).events) for user in (8, 9)] == [1, 1]
        assert await store.health() == Health()

    run(server, tmp_path / "spool.db", scenario)


def test_who_came_back_after_an_erasure_is_not_erased_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = RedisStore.append

    async def scenario(store: SpooledStore) -> None:
        await store.append([event("old")])
        assert await store.change([erase(7, time_ms=now_ms()), put(1)]) == 2
        await store.append([event("back", video_id=2, time_ms=2000)])
        server.kill()
        await store.append([event("waits", video_id=3, time_ms=3000)])

        async def append_while_another_reads(own: RedisStore, events: list[Event]) -> list[bool]:
            await store.changes(0)  # as each version that is opened does
            return await append(own, events)

        monkeypatch.setattr(RedisStore, "append", append_while_another_reads)
        server.start()
        await store.settled()
        assert await store.history(7) == [(2, 2000), (3, 3000)]
        assert len(await store.changes(0)) == 2

    run(server, tmp_path / "spool.db", scenario)


@pytest.mark.parametrize("fails", ["append", "changes", "change"])
def test_who_is_erased_stays_so_whatever_fails_at_delivery(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    append, failing = RedisStore.append, getattr(RedisStore, fails)
    told = list[str]()

    async def fail_once(own: RedisStore, *arguments: object) -> object:
        if told != ["erased"]:
            return await failing(own, *arguments)
        told.append("failed")
        raise StoreAwayError("lost for a moment")

    async def append_late(own: RedisStore, events: list[Event]) -> list[bool]:
        other = RedisStore(server.url)
        await other.open()
        if not told:
            await other.change([erase(7, time_ms=now_ms())])
            told.append("erased")
        await other.close()
        new = await append(own, events)
        if fails == "append" and told == ["erased"]:  # it came, but nobody heard so
            told.append("failed")
            raise StoreAwayError("too late")
        return new

    async def scenario(store: SpooledStore) -> None:
        server.kill()
        await store.append([event("y"), event("z", user_id=9)])
        monkeypatch.setattr(RedisStore, "append", append_late)
        if fails != "append":
            monkeypatch.setattr(RedisStore, fails, fail_once)
        server.start()
        await store.settled()
        assert told == ["erased", "failed"]
        assert [(await store.export(user)).events for user in (7, 9)] == [[], [event("z", user_id=9)]]

    run(server, tmp_path / "spool.db", scenario)


def test_what_comes_while_others_erasures_are_read_is_counted(tmp_path: Path) -> None:
    async def main() -> None:
        behind = MemoryStore()
        store = SpooledStore(behind, tmp_path / "spool.db", pauses_s=(60.0, 60.0))
        await store.open()
        store._lost("away, for this test")
        await store.append([event("1"), event("2"), event("3", user_id=8)])
        await behind.change([erase(7, time_ms=2**52)])
        forget = store._waiting.forget

        async def while_others_come(user: int | str, until_ms: int) -> int:
            await store.append([event("4", user_id=9)])
            return await forget(user, until_ms)

        store._waiting.forget = while_others_come  # type: ignore[method-assign]
        store._away = ""
        await store.changes(0)
        assert store._n == store._waiting.count() == 2
        await store.close()
        assert [one.event_id for one in (await behind.export(9)).events] == ["4"]  # the store is there: taken at last

    asyncio.run(main())


def test_a_process_that_is_killed_meanwhile_loses_nothing_acknowledged(server: Server) -> None:
    server.kill()
    command = Place("spooled", f"{server.url}#towers").command("append_for_ever", "a")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(200)]
        writer.kill()
        lines += writer.stdout.readlines()
    acknowledged = {line.split()[1] for line in lines if line.endswith("\n")}
    server.start()

    async def scenario(store: SpooledStore) -> None:
        await store.settled()
        assert acknowledged <= {one.event_id for one in (await store.export(7)).events}
        assert acknowledged <= {video for video, _ in await store.history(7)}

    run(server, Path(server.folder) / f"towers-{writer.pid}.db", scenario)
    assert len(acknowledged) >= 200


def test_what_neither_takes_is_not_acknowledged(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        server.kill()
        await store.append([event("a")])
        with (
            largest_file((tmp_path / "spool.db-wal").stat().st_size),
            pytest.raises(StoreAwayError, match=r"spool\.db: "),
        ):
            await store.append([event("b", labels={"long": "x" * 10_000})])
        assert (await store.health()).waiting == 1
        assert await store.append([event("c")]) == [True]
        server.start()
        await store.settled()
        assert [one.event_id for one in (await store.export(7)).events] == ["a", "c"]

    run(server, tmp_path / "spool.db", scenario)


def test_what_was_delivered_leaves_the_file(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        server.kill()
        await store.append([event("a", video_id="said-by-nobody-else")])
        assert b"said-by-nobody-else" in (tmp_path / "spool.db-wal").read_bytes()
        server.start()
        await store.settled()
        assert b"said-by-nobody-else" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())

    run(server, tmp_path / "spool.db", scenario)


def test_two_cannot_share_a_spool(server: Server, tmp_path: Path) -> None:
    async def scenario(store: SpooledStore) -> None:
        second = SpooledStore(RedisStore(server.url), tmp_path / "spool.db")
        with pytest.raises(StoreAwayError, match=r"spool\.db is the spool of another process; give each its own"):
            await second.open()
        await store.append([event("a")])

    run(server, tmp_path / "spool.db", scenario)


def test_of_known_histories_the_oldest_go_when_there_are_too_many(server: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SpooledStore(RedisStore(server.url), tmp_path / "spool.db", remembered=10)
        await store.open()
        for user in range(5):
            await store.append([event(str(i), user_id=user, time_ms=i) for i in range(4)])
        server.kill()
        assert [len(await store.history(user)) for user in range(5)] == [0, 0, 0, 4, 4]
        await store.close()

    asyncio.run(scenario())


def test_who_has_watched_nothing_counts_as_one_positive(server: Server, tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SpooledStore(RedisStore(server.url), tmp_path / "spool.db", remembered=10)
        await store.open()
        for user in (1, 2):
            await store.append([event(str(i), user_id=user, time_ms=i) for i in range(2)])
        strangers = [await store.history(user) for user in range(100, 107)]
        server.kill()
        assert strangers == [[]] * 7
        assert [len(await store.history(user)) for user in (1, 2)] == [0, 2]
        await store.close()

    asyncio.run(scenario())


def test_the_option_says_whether_there_is_a_spool(tmp_path: Path) -> None:
    assert isinstance(RedisState(spool=str(tmp_path / "spool.db")).make(), SpooledStore)
    assert isinstance(RedisState(spool="").make(), RedisStore)
