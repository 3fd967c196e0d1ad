"""What the store in Redis does when the server is killed, hangs, is another one, or is two."""

import asyncio
import os
import random
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.processes import free_port
from tests.stores import Place, Server, erase, event, put
from towers.serving.store import Health, RedisState, Store, StoreAwayError, redis_scripts
from towers.serving.store.redis import RedisStore
from towers.types import ConfigError, DataError, NotInstalledError

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"),
    reason="redis-server is not installed; on Debian and Ubuntu: apt install redis-server",
)
ROUNDS = int(os.environ.get("TOWERS_KILLS", "12"))
"""How often the server is killed; hundreds are a longer test."""


@pytest.fixture
def server() -> Iterator[Server]:
    own = Server()
    own.start()
    yield own
    own.stop()


@pytest.fixture
def place(server: Server) -> Place:
    return Place("redis", f"{server.url}#towers", longest=1_000_000)


@pytest.mark.timeout(60 + 10 * ROUNDS)
def test_a_server_that_is_killed_at_any_moment_loses_nothing_acknowledged(server: Server, place: Place) -> None:
    moments, acknowledged = random.Random(0), set[str]()  # noqa: S311  the moments need not be hard to guess

    async def write(store: Store, turn: int, stop: int) -> None:
        numbers = iter(range(10**9))

        async def task() -> None:
            for i in numbers:
                name = f"{turn}-{i}"
                await store.append([event(name, video_id=name, time_ms=i), event(name, user_id=8, positive=False)])
                acknowledged.add(name)
                if i == stop:
                    server.kill()

        outcomes = await asyncio.gather(*(task() for _ in range(8)), return_exceptions=True)
        assert all(isinstance(outcome, StoreAwayError) for outcome in outcomes)

    async def check(store: Store) -> None:
        for user in (7, 8):
            assert acknowledged <= {one.event_id for one in (await store.export(user)).events}
        history = await store.history(7)
        assert acknowledged <= {video for video, _ in history}
        assert len(history) == len((await store.export(7)).events)

    async def rounds(store: Store) -> None:
        for turn in range(ROUNDS):
            await write(store, turn, moments.randrange(1, 60))
            server.start()
            await check(store)

    place.run(rounds)


def test_a_server_that_hangs_is_away_and_comes_back(server: Server) -> None:
    async def scenario() -> None:
        store = RedisStore(server.url, timeout_ms=500)
        await store.open()
        await store.append([event("a")])
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreAwayError, match=r"unix:///.*redis\.sock: Timeout.*; see that Redis runs there"):
            await store.history(7)
        with pytest.raises(StoreAwayError, match="Timeout"):
            await store.append([event("b")])
        assert "Timeout" in (await store.health()).away
        server.process.send_signal(signal.SIGCONT)
        await store.append([event("b")])
        assert len(await store.history(7)) == 2
        assert (await store.health()).away == ""
        await store.close()

    asyncio.run(scenario())


def test_who_takes_no_writes_is_away(server: Server, place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("a")])
        server.ask("config", "set", "maxmemory", "1")
        with pytest.raises(StoreAwayError, match="maxmemory"):
            await store.append([event("b")])
        server.ask("config", "set", "maxmemory", "0")
        assert await store.append([event("a"), event("b")]) == [False, True]

    place.run(scenario)


def test_a_message_names_the_address_without_the_password() -> None:
    store = RedisStore(f"redis://reader:hush@127.0.0.1:{free_port()}/2?socket_timeout=1", timeout_ms=100)
    with pytest.raises(StoreAwayError, match=r"^redis://127\.0\.0\.1:\d+/2: .*onnect") as caught:
        asyncio.run(store.open())
    assert "hush" not in str(caught.value)
    assert "reader" not in str(caught.value)


def test_another_number_of_parts_and_another_version_are_refused(server: Server, place: Place) -> None:
    place.run(lambda store: store.append([event("a")]))
    with pytest.raises(ConfigError, match="towers:layout of version 1, 16 parts; this is version 1, 4 parts"):
        asyncio.run(RedisStore(server.url, parts=4).open())
    server.ask("set", "towers:layout", "version 9, 16 parts")
    with pytest.raises(DataError, match="towers:layout of version 9, 16 parts; this is version 1, 16 parts"):
        place.run(lambda store: store.health())
    with pytest.raises(ConfigError, match=r"store\.prefix is 'a\{b'; braces say"):
        RedisStore(server.url, prefix="a{b")
    with pytest.raises(ConfigError, match=r"store\.url is 'localhost:6379'; expected redis://HOST:6379/0, rediss://"):
        RedisState(url="localhost:6379")
    with pytest.raises(ConfigError, match=r"store\.url is '…@db:6379'; expected"):
        RedisState(url="reader:hush@db:6379")
    with pytest.raises(ConfigError, match=r"store\.parts is 0"):
        RedisStore(server.url, parts=0)


def test_what_is_erased_leaves_no_key(server: Server, place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("a"), event("a", user_id=8)])
        await store.change([erase(7)])

    place.run(scenario)
    keys = server.ask("keys", "*").split()
    assert [key for key in keys if key.endswith("i7")] == []
    assert len([key for key in keys if key.endswith("i8")]) == 2


def test_what_is_dropped_leaves_histories_alone(server: Server, place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("a"), event("a", user_id=8)])
        assert await store.forget_before(2**53) == 2

    place.run(scenario)
    keys = server.ask("keys", "*").split()
    assert sorted(key.rpartition("}:")[2] for key in keys if "log" not in key and "layout" not in key) == [
        "history:i7",
        "history:i8",
    ]


def test_what_came_again_since_keeps_its_mark(server: Server) -> None:
    async def scenario() -> None:
        store = RedisStore(server.url, parts=1)
        await store.open()
        await store.append([event("a")])
        first = "return redis.call('XRANGE', KEYS[1], '-', '+')[1][1]"
        place = server.ask("eval", first, "1", "towers:{0}:log").strip()
        await store.change([erase(7)])
        await store.append([event("a")])
        keys = ("towers:{0}:log", "towers:{0}:marks:i7")
        assert server.ask("eval", redis_scripts.FORGET, "2", *keys, place, "ea") == "0\n"
        assert await store.append([event("a")]) == [False]
        await store.close()

    asyncio.run(scenario())


def test_a_cluster_of_two_keeps_each_user_on_one() -> None:
    nodes = [Server(free_port()) for _ in range(2)]
    with ExitStack() as undo:
        for node in nodes:
            node.start()
            undo.callback(node.stop)
        _check_cluster(nodes)


def _check_cluster(nodes: list[Server]) -> None:
    for node, slots in zip(nodes, (("0", "8191"), ("8192", "16383")), strict=True):
        node.ask("cluster", "addslotsrange", *slots)
    there = nodes[1]
    port = there.url.rpartition(":")[2]
    bus = there.ask("config", "get", "cluster-port").split()[1]
    nodes[0].ask("cluster", "meet", "127.0.0.1", port, bus)
    while not all("cluster_state:ok" in (told := node.ask("cluster", "info")) and "size:2" in told for node in nodes):
        pass

    async def scenario(store: Store) -> None:
        users = list(range(60))
        assert await store.append([event("a", user, user) for user in users]) == [True] * 60
        assert [await store.history(user) for user in users] == [[(user, 1000)] for user in users]
        assert sorted(one.user_id for one in (await store.log())[0] if isinstance(one.user_id, int)) == users
        assert await store.change([put(1), erase(5)]) == 2
        assert await store.history(5) == []
        assert len((await store.log())[0]) == 59
        # More at once than there are connections: they wait for each other.
        told = [store.append([event("b", user, user)]) for user in range(400)]
        asked = [one for _ in range(30) for one in (store.log(), store.export(7), store.health())]
        *new, health = await asyncio.gather(*told, *map(store.history, range(400)), *asked, store.health())
        assert new[:400] == [[True]] * 400
        assert health == Health()

    Place("cluster", f"{nodes[0].url}#towers").run(scenario)
    for node in nodes:
        assert int(node.ask("dbsize")) > 20


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("redis", "redis_client"):
        monkeypatch.delitem(sys.modules, f"towers.serving.store.{module}")
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(
        NotInstalledError, match=r"store=redis needs redis; pip install -c requirements.lock -e '\.\[redis\]' in the ch"
    ):
        RedisState().make()
