"""What every store promises, against a plain oracle."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.processes import free_port
from tests.stores import MAKERS, Place, Server, erase, event, put, remove
from towers.serving.store import STORES, Answer, Change, Event, Export, Health, Id, LostChangesError, Reader, Store
from towers.types import ConfigError, DataError

Anew = Callable[[], Place]
ODD = ["a\0b", "}{", "{", "a:b*?[x]", "line\nfeed", " ", "'\"; --", "naïve 🎬", "\x7f\x80\xff", "9" * 30, "x" * 3000]
together = pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "memory"])


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], str]]:
    """Gives the url of a Redis server of a kind, which is started when it is first asked for."""
    started: dict[str, Server] = {}

    def url(kind: str) -> str:
        if not shutil.which("redis-server"):
            pytest.skip("redis-server is not installed; on Debian and Ubuntu: apt install redis-server")
        if kind not in started:
            server = started[kind] = Server(free_port() if kind == "cluster" else 0)
            server.start()
            if kind == "cluster":
                server.as_cluster()
        return started[kind].url

    yield url
    for server in started.values():
        server.stop()


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory, servers: Callable[[str], str]) -> Callable[[str], Place]:
    """Gives places of a kind that nobody used before."""
    folder, numbers = tmp_path_factory.mktemp("stores"), count()

    def place(kind: str) -> Place:
        own = f"{next(numbers)}"
        return Place(kind, str(folder / own / "state.db") if kind in {"memory", "sqlite"} else f"{servers(kind)}#{own}")

    return place


@pytest.fixture(params=MAKERS)
def place(request: pytest.FixtureRequest, places: Callable[[str], Place]) -> Place:
    return places(request.param)


def answer(request_id: str, user_id: Id | None = 7, *, videos: tuple[Id, ...] = (1, "1")) -> Answer:
    return Answer(
        request_id=request_id, user_id=user_id, time_ms=5, path="personal", bundle_version="v1", video_ids=list(videos)
    )


def test_every_variant_is_under_contract() -> None:
    assert set(STORES) <= set(MAKERS)


def test_a_history_is_in_the_order_of_time_also_when_events_come_late(place: Place) -> None:
    async def scenario(store: Store) -> None:
        assert await store.history(7) == []
        assert await store.append([event("b", time_ms=200, video_id="late"), event("c", time_ms=300)]) == [True, True]
        assert await store.append([event("a", time_ms=100, video_id="first")]) == [True]
        await store.append([event("seen", time_ms=250, positive=False)])
        assert await store.history(7) == [("first", 100), ("late", 200), (1, 300)]

    place.run(scenario)


def test_at_one_moment_it_is_in_the_order_in_which_they_came(place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event(str(i), time_ms=5, video_id=9 - i) for i in range(3)])
        for i in range(3, 9):
            await store.append([event(str(i), time_ms=5, video_id=9 - i)])
        assert await store.history(7) == [(9 - i, 5) for i in range(9)]

    place.run(scenario)


def test_an_event_that_comes_twice_changes_nothing(place: Place) -> None:
    async def scenario(store: Store) -> None:
        twice = [event("a", time_ms=100), event("a", time_ms=200), event("b", time_ms=50, video_id=2)]
        assert await store.append(twice) == [True, False, True]
        assert await store.append([*twice, event("c", time_ms=70)]) == [False, False, False, True]
        assert await store.history(7) == [(2, 50), (1, 70), (1, 100)]
        assert await store.append([event("a", user_id=8)]) == [True]
        assert [one.event_id for one in (await store.export(7)).events] == ["a", "b", "c"]

    place.run(scenario)


def test_the_newest_are_kept(place: Place) -> None:
    async def scenario(store: Store) -> None:
        for i in (5, 1, 4, 2, 3, 6, 0):
            await store.append([event(str(i), time_ms=i, video_id=i)])
        assert await store.history(7) == [(4, 4), (5, 5), (6, 6)]
        await store.append([event(f"more {i}", time_ms=4, video_id=i) for i in (10, 11, 12)])
        assert await store.history(7) == [(12, 4), (5, 5), (6, 6)]

    replace(place, longest=3).run(scenario)


def test_numbers_and_texts_are_different(place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("a", user_id=7, video_id="1"), event("a", user_id="7", video_id=1)])
        await store.change([put(5), put("5"), remove(5)])
        assert await store.history(7) == [("1", 1000)]
        assert await store.history("7") == [(1, 1000)]
        assert [(one.id, one.kind) for one in await store.changes(0)] == [("5", "put"), (5, "remove")]
        await store.change([erase("7")])
        assert await store.history(7) == [("1", 1000)]
        assert await store.history("7") == []

    place.run(scenario)


def test_ids_may_be_any_text_and_any_number_of_64_bits(place: Place) -> None:
    ids: list[Id] = [*ODD, 0, -1, 2**63 - 1, -(2**63), 2**53 + 1]

    async def scenario(store: Store) -> None:
        for user in ids:
            assert await store.append([event(str(video), user, video, n) for n, video in enumerate(ids)]) == [True] * 16
            await store.answered([answer(str(user), user, videos=tuple(ids))])
        await store.change([put(video, features=video) for video in ids])
        for user in ids:
            assert await store.history(user) == [(video, n) for n, video in enumerate(ids)]
            export = await store.export(user)
            assert [one.video_id for one in export.events] == ids
            assert export.answers == [answer(str(user), user, videos=tuple(ids))]
        assert [(one.id, one.features) for one in await store.changes(0)] == [(one, {"features": one}) for one in ids]

    assert len(ids) == 16
    place.run(scenario)


def test_times_may_be_before_1970_and_far_from_now(place: Place) -> None:
    times = [2**53, -(2**53), 0, 2**53 - 1, -1]

    async def scenario(store: Store) -> None:
        await store.append([event(str(time), time_ms=time) for time in times])
        assert await store.history(7) == [(1, time) for time in sorted(times)]

    place.run(scenario)


def test_a_history_of_none_is_refused(place: Place) -> None:
    with pytest.raises(ConfigError, match="longest is 0; keep at least 1 positive of a user"):
        replace(place, longest=0).store()


def test_tasks_at_the_same_moment_lose_nothing(place: Place) -> None:
    async def scenario(store: Store) -> None:
        async def task(who: int) -> list[bool]:
            """Send what the next task sends, too."""
            return [
                (await store.append([event(f"{one}-{i}", video_id=f"{one}-{i}", time_ms=i)]))[0]
                for i in range(10)
                for one in (who, (who + 1) % 20)
            ]

        new = await asyncio.gather(*(task(who) for who in range(20)))
        assert sum(map(sum, new)) == 200
        history = await store.history(7)
        assert sorted(history) == sorted((f"{who}-{i}", i) for who in range(20) for i in range(10))
        assert [time for _, time in history] == sorted(time for _, time in history)

    place.run(scenario)


@together
def test_processes_at_the_same_moment_lose_nothing(kind: str, places: Callable[[str], Place]) -> None:
    place = places(kind)
    writers = [subprocess.Popen(place.command("append", who, 60)) for who in "abc"]
    assert [writer.wait() for writer in writers] == [0, 0, 0]

    async def scenario(store: Store) -> None:
        history = await store.history(7)
        assert sorted(history) == sorted((f"{who}-{i}", i) for who in "abc" for i in range(60))
        assert [time for _, time in history] == sorted(time for _, time in history)
        changes = await store.changes(0)
        assert [change.number for change in changes] == list(range(1, 181))
        assert {change.id for change in changes} == {video for video, _ in history}

    place.run(scenario)


def test_changes_are_numbered_and_of_an_id_the_last_is_left(place: Place) -> None:
    async def scenario(store: Store) -> None:
        assert await store.changes(0) == []
        assert await store.change([]) == 0
        assert await store.change([put(1, genre="drama"), put(2), erase(1)]) == 3
        assert await store.change([remove(2)]) == 4
        assert await store.change([]) == 4
        left = [put(1, genre="drama"), erase(1), remove(2)]
        assert await store.changes(0) == [_numbered(one, number) for one, number in zip(left, (1, 3, 4), strict=True)]
        assert [one.number for one in await store.changes(0, most=2)] == [1, 3]
        assert [one.number for one in await store.changes(1)] == [3, 4]
        assert await store.changes(4) == []
        assert await store.change([put(2, genre=["news", None, 1.5])]) == 5
        assert (await store.changes(4))[0].features == {"genre": ["news", None, 1.5]}

    place.run(scenario)


def _numbered(change: Change, number: int) -> Change:
    return structs.replace(change, number=number)


def test_a_store_of_before_says_that_it_has_lost_changes(place: Place) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(LostChangesError, match="has changes up to number 0, and 1 of them are known here"):
            await store.changes(1)
        await store.change([remove(5), remove(6)])
        assert await store.changes(2) == []
        with pytest.raises(LostChangesError, match="has changes up to number 2, and 3 of them are known here"):
            await store.changes(3)

    place.run(scenario)


def test_a_reader_is_given_each_change_once_and_all_again_where_some_were_lost(place: Place) -> None:
    async def scenario(store: Store) -> None:
        reader = Reader()

        async def read(most: int = 10) -> list[int]:
            changes = await reader.read(store, most)
            if changes:
                reader.done(changes[-1])
            return [change.number for change in changes]

        assert await read() == []
        await store.change([put(1), put(2), erase(1)])
        assert (await read(2), await read(2), await read(2), reader.number) == ([1, 2], [3], [], 3)
        await store.change([put(2), erase(1)])  # the one that was read last made room for a later one
        assert (await read(), await read()) == ([4, 5], [])
        reader.done(_numbered(remove(9), 5))  # as if the store had been put back, and others had come
        assert (await read(), await read()) == ([1, 4, 5], [])
        reader.done(_numbered(erase(1), 4))  # whose number another has, though a later one is of the same user
        assert (await read(), await read()) == ([1, 4, 5], [])
        reader.done(_numbered(remove(9), 7))
        assert (await read(), await read()) == ([1, 4, 5], [])
        await store.change([erase(3)])
        reader.saw(4, await store.changes(4))
        assert (reader.number, await read()) == (6, [])
        await store.change([erase(4), erase(5)])
        reader.saw(7, await store.changes(7))  # nobody has told it of the seventh
        assert await read() == [7, 8]

    place.run(scenario)


def test_who_follows_the_changes_misses_none(place: Place) -> None:
    async def scenario(store: Store) -> None:
        async def write(who: int) -> list[int]:
            return [await store.change([put(f"{who}-{i}"), remove(f"{who}-{i}+")]) for i in range(25)]

        async def follow() -> list[Change]:
            seen: list[Change] = []
            while len(seen) < 400:
                await asyncio.sleep(0)  # what is in memory never waits
                seen += await store.changes(len(seen))
            return seen

        following = asyncio.create_task(follow())
        numbers = await asyncio.gather(*(write(who) for who in range(8)))
        seen = await following
        assert [change.number for change in seen] == list(range(1, 401))
        assert sorted(number for one in numbers for number in one) == list(range(2, 401, 2))
        for who, one in enumerate(numbers):
            assert [seen[number - 1].id for number in one] == [f"{who}-{i}+" for i in range(25)]

    place.run(scenario)


def test_an_erased_user_is_forgotten_and_may_come_again(place: Place) -> None:
    async def scenario(store: Store) -> None:
        events = [event(f"{user}", user) for user in (7, 8)]
        await store.append(events)
        await store.answered([answer("r7", 7), answer("r8", 8), answer("r9", None)])
        assert await store.change([erase(7)]) == 1
        assert await store.history(7) == []
        assert await store.export(7) == Export(events=[], history=[], answers=[])
        assert await store.history(8) == [(1, 1000)]
        found, mark = await store.log()
        assert sorted(found, key=repr) == sorted([events[1], answer("r8", 8), answer("r9", None)], key=repr)
        assert await store.append(events) == [True, False]
        assert await store.history(7) == [(1, 1000)]
        assert (await store.log(mark))[0] == [events[0]]

    place.run(scenario)


def test_all_that_is_known_of_a_user_can_be_exported(place: Place) -> None:
    async def scenario(store: Store) -> None:
        events = [
            event("late", video_id=3, time_ms=900, labels={"watch_ms": 1.5, "like": True, "from": "page", "x": None}),
            event("early", time_ms=100, request_id="r1"),
            event("seen", time_ms=50, positive=False),
        ]
        for one in events:
            await store.append([one])
        await store.answered([answer("r2"), answer("r1")])
        await store.answered([answer("r2")])
        assert await store.export(7) == Export(
            events=events, history=[(1, 100), (3, 900)], answers=[answer("r2"), answer("r1")]
        )
        assert await store.export("7") == Export(events=[], history=[], answers=[])

    place.run(scenario)


def test_the_log_goes_on_from_a_mark(place: Place) -> None:
    async def scenario(store: Store) -> None:
        assert await store.log() == ([], "")
        kept: list[Event | Answer] = []
        for i in range(10):
            kept += [event(str(i)), answer(str(i))]
            await store.append([event(str(i))])
            await store.answered([answer(str(i))])
        whole, end = await store.log()
        assert whole == kept
        assert await store.log(end) == ([], end)
        seen, mark = await store.log(most=3)
        while len(seen) < 20:
            more, mark = await store.log(mark, most=3)
            assert len(more) == min(3, 20 - len(seen))
            seen += more
        assert seen == kept
        await store.append([event("other", user_id=8)])
        assert (await store.log(end))[0] == [event("other", user_id=8)]
        with pytest.raises(DataError, match="'nowhere' is no mark of this store's log"):
            await store.log("nowhere")

    place.run(scenario)


def later() -> int:
    """Wait until the clock is beyond all that came so far; return that moment, ms UTC."""
    now_ms = time.time_ns() // 1_000_000
    while time.time_ns() // 1_000_000 <= now_ms:
        pass
    return now_ms + 1


def test_it_knows_the_time(place: Place) -> None:
    begin_ms = time.time_ns() // 1_000_000
    assert begin_ms <= place.run(lambda store: store.now_ms()) <= time.time_ns() // 1_000_000


def test_what_came_before_a_moment_is_dropped_and_histories_stay(place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event("a", time_ms=2**53), event("seen", positive=False), event("a", user_id=8)])
        await store.answered([answer("r"), answer("r", None)])
        _, mark = await store.log()
        moment = later()
        await store.append([event("b", time_ms=5, video_id=2)])
        await store.answered([answer("r2")])
        assert await store.forget_before(0) == 0
        assert await store.forget_before(moment, most=2) == 2
        assert len((await store.log())[0]) == 5
        assert await store.forget_before(moment) == 3
        assert await store.forget_before(moment) == 0
        events, answers = [event("b", time_ms=5, video_id=2)], [answer("r2")]
        assert (await store.log())[0] == (await store.log(mark))[0] == [*events, *answers]
        assert await store.export(7) == Export(events=events, history=[(2, 5), (1, 2**53)], answers=answers)
        assert await store.history(8) == [(1, 1000)]

    place.run(scenario)


def test_what_was_dropped_counts_again_and_comes_last_of_its_moment(place: Place) -> None:
    async def scenario(store: Store) -> None:
        await store.append([event(str(i), time_ms=5, video_id=9 - i) for i in range(4)])
        await store.answered([answer("r")])
        assert await store.forget_before(later()) == 5
        assert await store.append([event("3", time_ms=5, video_id=6), event("9", time_ms=5)]) == [True, True]
        await store.answered([answer("r"), answer("r")])
        assert await store.history(7) == [(9, 5), (8, 5), (7, 5), (6, 5), (6, 5), (1, 5)]
        assert len((await store.log())[0]) == 3
        assert await store.change([erase(7)]) == 1
        assert await store.forget_before(later()) == 0
        assert await store.log() == ([], "")

    place.run(scenario)


@together
def test_opened_again_it_knows_all(kind: str, places: Callable[[str], Place]) -> None:
    place = places(kind)

    async def fill(store: Store) -> tuple[object, ...]:
        await store.append([event(str(i), user, i, i) for i in range(20) for user in (7, "7")])
        await store.answered([answer("r")])
        await store.change([put(1), erase("7")])
        return await tell(store)

    async def tell(store: Store) -> tuple[object, ...]:
        return await store.export(7), await store.export("7"), await store.changes(0), await store.log()

    before = place.run(fill)
    assert place.run(tell) == before
    assert place.run(lambda store: store.append([event("3", 7, 3, 3)])) == [False]
    assert place.run(lambda store: store.change([put(2)])) == 3


def test_a_store_that_does_well_says_so(place: Place) -> None:
    assert place.run(lambda store: store.health()) == Health()


few = st.integers(0, 5)
events = st.builds(
    lambda name, user, video, time, positive: event(str(name), user, video, time, positive=positive),
    *(st.integers(0, 15), st.sampled_from([7, "7", 8]), few, few, st.sampled_from([True, True, False])),
)
calls = st.lists(st.one_of(st.lists(events, max_size=12), st.sampled_from([7, "7", 8])), max_size=12)


@given(calls=calls, longest=st.integers(1, 6))
@pytest.mark.parametrize("kind", MAKERS)
def test_equals_the_oracle(
    kind: str, places: Callable[[str], Place], calls: list[list[Event] | Id], longest: int
) -> None:
    async def scenario(store: Store) -> None:
        kept: list[Event] = []
        for call in calls:
            if isinstance(call, list):
                known = {(one.user_id, one.event_id) for one in kept}
                new = []
                for one in call:
                    new.append((one.user_id, one.event_id) not in known)
                    known.add((one.user_id, one.event_id))
                assert await store.append(call) == new
                kept += [one for one, is_new in zip(call, new, strict=True) if is_new]
            else:
                await store.change([erase(call)])
                kept = [one for one in kept if one.user_id != call]
            for user in (7, "7", 8):
                watched = [(one.video_id, one.time_ms) for one in kept if one.user_id == user and one.positive]
                assert await store.history(user) == sorted(watched, key=lambda one: one[1])[-longest:]
        for user in (7, "7", 8):
            own = [one for one in kept if one.user_id == user]
            assert (await store.export(user)).events == own
            assert [one for one in (await store.log())[0] if one.user_id == user] == own

    replace(places(kind), longest=longest).run(scenario)
