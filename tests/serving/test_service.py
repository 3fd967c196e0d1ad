"""A service without HTTP: versions are adopted, refused and rolled back, and changes outlive all of it."""

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import tiny
from towers.data import Dataset
from towers.index import Exact
from towers.publishing import Bundle, PublishConfig, current_name, publish
from towers.publishing.versions import point_to
from towers.serving import Ask, Retriever, Way
from towers.serving import versions as versions_module
from towers.serving.arrivals import arrived_vectors
from towers.serving.following import _Pointer
from towers.serving.queue import BusyError
from towers.serving.service import Limits, Service
from towers.serving.store import Answer, Change, ChangeKind, Event, MemoryStore, SqliteStore, StoreAwayError
from towers.serving.together import Shown
from towers.serving.version import Version
from towers.types import BundleError, ConfigError, DataError, UnwritableError

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
NEW = 2**60


@pytest.fixture
def root(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A bundle with two versions of different towers, the second one served."""
    for seed in (0, 1):
        run = tiny.write_run(tmp_path / f"run{seed}", Dataset.open(tiny_dataset), seed=seed)
        publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact(), keep=5))
    return tmp_path / "bundle"


def within(root: Path, tmp_path: Path, work: Callable[[Service], Awaitable[Any]], **limits: Any) -> Any:  # noqa: ANN401
    """Run work with a service that is open."""

    async def main() -> Any:  # noqa: ANN401
        store = SqliteStore(str(tmp_path / "state.db"))
        service = Service(root, store, tmp_path / "state", Limits(**limits))
        await service.open()
        try:
            return await work(service)
        finally:
            await service.close()

    return asyncio.run(main())


async def ids(service: Service, user: int | None = None, **options: Any) -> list[int]:  # noqa: ANN401
    found, _ = await service.candidates(replace(Ask(user, 60), **options), "request")
    return list(found.ids)


def versions(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "versions").iterdir())


@pytest.mark.parametrize(
    ("time_ms", "message"),
    [
        (1_764_000_000, "time_ms is 1764000000, of early 1970, as if in seconds; give milliseconds UTC"),
        (1_764_000_000_000_000, "time_ms is 1764000000000000, more than a day ahead of this machine's clock; give"),
    ],
)
def test_times_that_are_no_milliseconds_are_refused(root: Path, tmp_path: Path, time_ms: int, message: str) -> None:
    async def work(service: Service) -> None:
        service.version.knows_until_ms = 10**12  # as of a log of this century
        good, bad = (
            Event(event_id=str(each), user_id=USERS[4], video_id=VIDEOS[0], time_ms=each)
            for each in (1_764_000_000_000, time_ms)
        )
        with pytest.raises(DataError, match=message):
            await service.record([good, bad])
        assert await service.record([good]) == [True]  # nothing of the others was kept

    within(root, tmp_path, work)


def test_back_and_forth_with_all_that_came(root: Path, tmp_path: Path) -> None:
    first, second = versions(root)

    async def work(service: Service) -> None:
        await service.put_videos([(NEW, {"tags": ["a"]})])
        await service.remove_videos([VIDEOS[3]])
        await service.erase(USERS[5])
        newer = await ids(service, USERS[4])
        assert await service.versions.roll_back() == first
        assert (service.version.name, current_name(root)) == (first, first)
        older = await ids(service, USERS[4])
        assert older != newer
        for shown in (older, newer):
            assert NEW in shown
            assert VIDEOS[3] not in shown
        assert (await service.candidates(Ask(USERS[5], 5), "r"))[0].way is Way.new_user
        with pytest.raises(BundleError, match=f"no version before {first}"):
            await service.versions.roll_back()
        await service.versions.adopt(second)
        assert await ids(service, USERS[4]) == newer
        assert len(list((tmp_path / "state" / "indexes").iterdir())) == 1

    within(root, tmp_path, work)


def test_who_is_ended_while_rolling_back_begins_with_the_version_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = versions(root)
    close, current = Version.close, list[str]()

    def close_and_look(self: Version) -> None:
        current.append(current_name(root))
        close(self)

    async def work(service: Service) -> None:
        monkeypatch.setattr(Version, "close", close_and_look)
        await service.versions.roll_back()
        assert current == [first]  # before the old one was put away, which may take long

    within(root, tmp_path, work)


def test_where_the_pointer_cannot_be_written_the_old_version_goes_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)

    def full(*_: object) -> None:
        raise OSError("no space left")

    async def work(service: Service) -> None:
        monkeypatch.setattr("towers.serving.versions.point_to", full)
        shown = await ids(service, USERS[4])
        with pytest.raises(OSError, match="no space left"):
            await service.versions.roll_back()
        assert (service.version.name, current_name(root)) == (second, second)
        assert await ids(service, USERS[4]) == shown
        assert service.versions.refused is not None
        assert (service.versions.refused.name, service.versions.refused.why) == (first, "no space left")

    within(root, tmp_path, work)


def test_a_new_version_is_adopted_where_the_old_one_can_neither_be_written_nor_opened(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)

    async def work(service: Service) -> None:
        following = _Pointer(service.versions)
        monkeypatch.setattr(service.versions, "_stuck", service.version)
        shutil.rmtree(root / "versions" / second)
        point_to(root, first)
        await following.look()
        assert service.version.name == first
        assert not service.versions.stuck

    within(root, tmp_path, work)


def test_an_index_is_opened_again_also_where_a_newer_version_cannot_be(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)

    async def work(service: Service) -> None:
        following, opened = _Pointer(service.versions), list[str]()

        async def full(*_: object) -> None:
            raise UnwritableError("no space left")

        async def reopen(*_: object) -> None:
            opened.append(service.version.name)

        monkeypatch.setattr(service.versions, "_stuck", service.version)
        monkeypatch.setattr(service.versions, "adopt", full)
        monkeypatch.setattr(service.versions, "reopen", reopen)
        point_to(root, first)
        with pytest.raises(UnwritableError, match="no space left"):
            await following.look()
        assert opened == [second]

    within(root, tmp_path, work)


def test_all_that_came_outlives_the_process(root: Path, tmp_path: Path) -> None:
    async def before(service: Service) -> list[int]:
        await service.put_videos([(NEW, {"tags": ["a"]}), (NEW + 1, {})])
        await service.remove_videos([NEW + 1, VIDEOS[0]])
        await service.record([Event(event_id="1", user_id=USERS[4], video_id=NEW, time_ms=10**12)])
        return await ids(service, USERS[4])

    async def after(service: Service) -> list[int]:
        return await ids(service, USERS[4])

    told = within(root, tmp_path, before)
    assert within(root, tmp_path, after) == told
    assert NEW not in told
    assert VIDEOS[0] not in told


def test_a_start_goes_on_with_the_version_before_one_that_cannot_be_served(root: Path, tmp_path: Path) -> None:
    first, second = versions(root)
    expected = Retriever.open(root / "versions" / first).candidates(USERS[4], k=60).ids
    vectors = root / "versions" / second / "vectors.npy"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    async def work(service: Service) -> None:
        assert (service.version.name, current_name(root)) == (first, second)
        assert service.versions.refused is not None
        assert service.versions.refused.name == second
        assert "vectors.npy is changed" in service.versions.refused.why
        assert await ids(service, USERS[4]) == list(expected)
        pointer = _Pointer(service.versions)
        await pointer.look()  # which does not try it again
        assert service.versions.adopted == 1
        await service.versions.adopt(first)
        assert (current_name(root), service.versions.refused is None) == (first, True)
        point_to(root, second)
        vectors.write_bytes(whole)
        await service.versions.adopt()
        assert service.version.name == second
        assert service.versions.refused is None

    within(root, tmp_path, work)
    for each in (first, second):
        (root / "versions" / each / "vectors.npy").write_bytes(b"")
    with pytest.raises(BundleError, match=rf"{second}.*vectors\.npy"):
        within(root, tmp_path, work)


@pytest.mark.parametrize("fault", ["a machine's", "the version's changes", "the store"])
def test_whatever_keeps_a_version_from_being_served_at_a_start(
    fault: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)
    right = Version.warm if fault == "a machine's" else versions_module.Versions._catch_up

    def warm(version: Version) -> None:
        right(version)  # type: ignore[call-arg, arg-type]
        if version.name == second:
            raise PermissionError("not allowed")

    async def catch_up(own: versions_module.Versions, version: Version) -> int | None:
        if version.name == second:
            raise StoreAwayError("gone for a while") if fault == "the store" else DataError("such changes")
        return await right(own, version)  # type: ignore[call-arg, arg-type, misc]

    async def work(service: Service) -> tuple[str, str]:
        assert service.versions.refused is not None
        return service.version.name, service.versions.refused.why

    if fault == "a machine's":
        monkeypatch.setattr(Version, "warm", warm)
    else:
        monkeypatch.setattr(versions_module.Versions, "_catch_up", catch_up)
    if fault == "the store":
        with pytest.raises(StoreAwayError, match="gone for a while"):
            within(root, tmp_path, work)
    else:
        why = "not allowed" if fault == "a machine's" else "such changes"
        assert within(root, tmp_path, work) == (first, why)
        assert len(list((tmp_path / "state" / "indexes").iterdir())) == 0


def test_a_version_that_is_not_as_it_was_published_is_refused(root: Path, tmp_path: Path) -> None:
    first, second = versions(root)
    with (root / "versions" / first / "vectors.npy").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\x00\x00\xc0\x7f")

    async def work(service: Service) -> None:
        shown = await ids(service, USERS[4])
        with pytest.raises(BundleError, match="vectors"):
            await service.versions.roll_back()
        assert service.versions.refused is not None
        assert service.versions.refused.name == first
        assert "vectors" in service.versions.refused.why
        assert (service.version.name, current_name(root)) == (second, second)
        assert await ids(service, USERS[4]) == shown
        with pytest.raises(BundleError, match="there is no version '000009-00000000'"):
            await service.versions.adopt("000009-00000000")

    within(root, tmp_path, work)


def test_what_is_published_meanwhile_is_adopted_by_itself(root: Path, tmp_path: Path) -> None:
    first, _ = versions(root)

    async def work(service: Service) -> None:
        point_to(root, first)
        async with asyncio.timeout(30):
            while service.version.name != first:
                await asyncio.sleep(0.01)
        assert service.versions.adopted == 2
        shutil.rmtree(root / "versions" / first)  # as a later publish may
        assert NEW not in await ids(service, USERS[4])
        await service.put_videos([(NEW, {})])
        assert NEW in await ids(service, USERS[4])

    within(root, tmp_path, work, watch_s=0.05)


def test_a_version_is_tried_again_when_the_store_was_away(root: Path, tmp_path: Path) -> None:
    first, _ = versions(root)

    class Away(MemoryStore):
        times = 0

        async def changes(self, after: int, most: int = 10_000) -> list[Change]:
            if self.times and after == 0:  # as a version asks that is being opened
                self.times -= 1
                raise StoreAwayError("away for a moment")
            return await super().changes(after, most)

    async def main() -> None:
        store = Away()
        service = Service(root, store, tmp_path / "state", Limits(watch_s=0.05))
        await service.open()
        await service.put_videos([(NEW, {})])
        store.times = 1
        point_to(root, first)
        async with asyncio.timeout(30):
            while service.version.name != first:
                await asyncio.sleep(0.01)
        assert (store.times, service.versions.refused) == (0, None)
        assert NEW in await ids(service)
        await service.close()

    asyncio.run(main())


def test_a_version_is_closed_also_when_whoever_waits_is_told_to_stop(root: Path, tmp_path: Path) -> None:
    first, _ = versions(root)

    async def main() -> None:
        service = Service(root, MemoryStore(), tmp_path / "state")
        await service.open()
        other, busy = await service.versions._opened(first), threading.Event()
        service.versions._opener.submit(busy.wait)
        closing = asyncio.create_task(service.versions._put_away(other))
        await asyncio.sleep(0)
        closing.cancel()
        try:
            with pytest.raises(asyncio.CancelledError):
                await closing
        finally:
            busy.set()
        await service.close()
        with pytest.raises(DataError, match="is not open for writing"):
            other.catalogue.index.remove(np.array([2]))

    asyncio.run(main())


def test_a_version_is_closed_that_was_opened_for_who_was_told_to_stop_meanwhile(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)
    warming, told = asyncio.Event(), threading.Event()
    warm, close, closed = Version.warm, Version.close, list[str]()

    def close_and_say(self: Version) -> None:
        close(self)
        closed.append(self.name)

    async def work(service: Service) -> None:
        loop = asyncio.get_running_loop()

        def warm_late(self: Version) -> None:
            loop.call_soon_threadsafe(warming.set)
            told.wait()
            warm(self)

        monkeypatch.setattr(Version, "warm", warm_late)
        monkeypatch.setattr(Version, "close", close_and_say)
        adopting = asyncio.create_task(service.versions.adopt(first))
        await warming.wait()
        adopting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adopting
        told.set()

    within(root, tmp_path, work)
    assert closed == [first, second]
    assert not list((tmp_path / "state" / "indexes").iterdir())


def test_no_answer_waits_or_fails_while_versions_change(root: Path, tmp_path: Path) -> None:
    names = versions(root)
    alone = {name: list(Retriever.open(root / "versions" / name).candidates(USERS[4], 60).ids) for name in names}

    async def work(service: Service) -> None:
        changing = asyncio.ensure_future(flip(service))
        count = 0
        while not changing.done():
            found, _ = await service.candidates(Ask(USERS[4], 60), "request")
            assert list(found.ids) == alone[found.bundle_version]
            count += 1
            await asyncio.sleep(0)
        await changing
        assert count > 50

    async def flip(service: Service) -> None:
        for name in [*names, *names]:
            await service.versions.adopt(name)

    within(root, tmp_path, work)


def test_two_processes_cannot_share_a_folder_of_indexes(root: Path, tmp_path: Path) -> None:
    async def work(_service: Service) -> None:
        other = Service(root, MemoryStore(), tmp_path / "state")
        with pytest.raises(ConfigError, match="is used by another process"):
            await other.open()

    within(root, tmp_path, work)


def test_changes_that_another_process_took_in_are_seen(root: Path, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        other = Service(root, SqliteStore(str(tmp_path / "state.db")), tmp_path / "other")
        await other.open()
        try:
            await other.put_videos([(NEW, {})])
            await other.record([Event(event_id="1", user_id=USERS[4], video_id=VIDEOS[30], time_ms=10**12)])
            async with asyncio.timeout(30):
                while NEW not in await ids(service, USERS[4]):
                    await asyncio.sleep(0.01)
            assert await ids(service, USERS[4]) == await ids(other, USERS[4])
        finally:
            await other.close()

    within(root, tmp_path, work)


def test_answers_go_on_when_the_store_is_away(root: Path, tmp_path: Path) -> None:
    class Away(MemoryStore):
        async def history(self, user_id: int | str) -> list[tuple[int | str, int]]:
            raise StoreAwayError(f"away when asked for {user_id}")

    async def main() -> None:
        service = Service(root, Away(), tmp_path / "state")
        await service.open()
        found, known = await service.candidates(Ask(USERS[4], 5), "request")
        assert not known
        assert list(found.ids) == list(Retriever.open(root).candidates(USERS[4], 5).ids)
        await service.close()

    asyncio.run(main())


def test_where_the_towers_fail_the_popular_are_shown(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: Retriever, _ask: Ask) -> None:
        raise FloatingPointError("broken")

    async def work(service: Service) -> None:
        monkeypatch.setattr(Retriever, "answer", broken)
        found, _ = await service.candidates(Ask(USERS[4], 5), "request")
        assert (found.way, len(found)) == (Way.popular, 5)

    within(root, tmp_path, work)


def test_the_popular_are_chosen_as_was_asked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: Retriever, _ask: Ask) -> None:
        raise FloatingPointError("broken")

    async def work(service: Service) -> None:
        allowed = VIDEOS[:20]
        told = Shown(only={"tags": "a"}, allow=allowed)
        usual, _ = await service.candidates(Ask(USERS[4], 60, exclude=[VIDEOS[1]]), "request", told)
        monkeypatch.setattr(Retriever, "answer", broken)
        found, _ = await service.candidates(Ask(USERS[4], 60, exclude=[VIDEOS[1]]), "request", told)
        assert found.way is Way.popular
        assert 0 < len(found) <= len(usual)
        assert set(found.ids) <= set(usual.ids)

    within(root, tmp_path, work)


def test_a_video_that_no_tower_can_take_keeps_none_that_come_after_it_away(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def vectors(bundle: Bundle, rows: Any, features: Any) -> Any:  # noqa: ANN401
        if {"tags": ["no"]} in list(features):
            raise ValueError("no vector of that")
        return arrived_vectors(bundle, rows, features)

    async def work(service: Service) -> None:
        monkeypatch.setattr(versions_module, "arrived_vectors", vectors)
        with pytest.raises(ValueError, match="no vector of that"):
            await service.put_videos([(NEW, {"tags": ["no"]})])
        assert await service.store.changes(0) == []
        told = ((NEW, ["a"]), (NEW + 1, ["no"]), (NEW + 2, ["b"]))
        await service.store.change([
            Change(kind=ChangeKind.put, id=video, time_ms=1, features={"tags": tags}) for video, tags in told
        ])
        await service.remove_videos([VIDEOS[3]])
        shown = await ids(service)
        assert (NEW in shown, NEW + 1 in shown, NEW + 2 in shown, VIDEOS[3] in shown) == (True, False, True, False)
        assert f"video {NEW + 1} is not shown, its vector cannot be made: no vector of that" in caplog.messages

    within(root, tmp_path, work)


def test_who_was_erased_stays_so_in_bundles_of_what_was_known_before(
    root: Path, tmp_path: Path, tiny_dataset: Path
) -> None:
    async def work(service: Service) -> None:
        assert (await service.candidates(Ask(USERS[5], 5), "r"))[0].way is Way.history
        vectors = service.embed_users(USERS[4:7])
        await service.erase(USERS[5])
        run = tiny.write_run(tmp_path / "run2", Dataset.open(tiny_dataset), seed=1)
        publish(PublishConfig(run=str(run), bundle=str(root), index=Exact(), keep=5))
        await service.versions.adopt()
        assert service.versions.adopted == 2
        assert (await service.candidates(Ask(USERS[5], 5), "r"))[0].way is Way.new_user
        assert service.known(USERS[5]) == []
        after = service.embed_users(USERS[4:7])
        assert np.array_equal(after[[0, 2]], vectors[[0, 2]])
        assert np.array_equal(after[1], service.version.retriever.embed_nobody())
        assert not np.array_equal(after[1], vectors[1])

    within(root, tmp_path, work)


def test_changes_are_followed_while_a_version_is_being_adopted(root: Path, tmp_path: Path) -> None:
    first, _ = versions(root)

    async def work(service: Service) -> None:
        opened, go_on = service.versions._opened, asyncio.Event()

        async def slow(name: str) -> Version:
            await go_on.wait()
            return await opened(name)

        service.versions._opened = slow  # type: ignore[method-assign]
        adopting = asyncio.create_task(service.versions.adopt(first))
        point_to(root, first)
        other = SqliteStore(str(tmp_path / "state.db"))
        await other.open()
        await other.change([Change(kind=ChangeKind.remove, id=VIDEOS[3], time_ms=1)])
        await other.close()
        async with asyncio.timeout(30):
            while VIDEOS[3] in await ids(service):
                await asyncio.sleep(0.01)
        assert service.version.name != first
        go_on.set()
        await adopting
        assert VIDEOS[3] not in await ids(service)

    within(root, tmp_path, work, watch_s=0.01)


def test_what_a_store_of_before_numbers_anew_is_taken_in(root: Path, tmp_path: Path) -> None:
    async def main() -> None:
        store = MemoryStore()
        service = Service(root, store, tmp_path / "state")
        await service.open()
        for video in VIDEOS[:3]:
            await service.remove_videos([video])
        store._changes.popitem()
        store._changed -= 1
        # More of them than were lost, so that their last number is one that was not known before.
        await service.remove_videos(VIDEOS[9:12])
        assert not set(VIDEOS[9:12]) & set(await ids(service))
        await service.put_videos([])
        await service.close()

    asyncio.run(main())


@pytest.mark.parametrize("lost", [3, 1], ids=["fewer are left", "as many are there again"])
def test_who_only_follows_takes_in_what_a_store_of_before_numbers_anew(root: Path, tmp_path: Path, lost: int) -> None:
    async def main() -> None:
        store = MemoryStore()
        service = Service(root, store, tmp_path / "state")
        await service.open()
        await service.remove_videos(VIDEOS[:3])
        for _ in range(lost):
            store._changes.popitem()
        store._changed -= lost
        await store.change([Change(kind=ChangeKind.remove, id=VIDEOS[9], time_ms=1)])  # as another service would
        await service.versions.catch_up()
        assert VIDEOS[9] not in await ids(service)
        assert service.version.applied == 4 - lost
        await service.close()

    asyncio.run(main())


def test_a_version_that_is_prepared_meanwhile_takes_in_what_a_store_of_before_numbers_anew(
    root: Path, tmp_path: Path
) -> None:
    first, _ = versions(root)

    async def main() -> None:
        store = MemoryStore()
        service = Service(root, store, tmp_path / "state")
        await service.open()
        await service.remove_videos(VIDEOS[:1])
        prepared = Version.prepared

        async def meanwhile(version: Version) -> bool:
            store._changes.popitem()
            store._changed -= 1
            await service.remove_videos(VIDEOS[9:10])  # is given the number of the one that is lost
            return await prepared(version)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Version, "prepared", meanwhile)
            await service.versions.adopt(first)
        assert service.version.name == first
        assert VIDEOS[9] not in await ids(service)
        await service.close()

    asyncio.run(main())


def test_the_version_that_is_served_may_be_asked_for_where_nothing_can_be_written(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)
    monkeypatch.setattr("towers.serving.versions.os.access", lambda *_: False)

    async def work(service: Service) -> None:
        await service.versions.adopt(second)
        with pytest.raises(BundleError, match="there is no version '000009-00000000'"):
            await service.versions.adopt("000009-00000000")
        with pytest.raises(BundleError, match=f"cannot be written, so {first} cannot be made current"):
            await service.versions.adopt(first)

    within(root, tmp_path, work)


def test_a_clock_that_is_set_forward_makes_nothing_old(root: Path, tmp_path: Path) -> None:
    class Ahead(MemoryStore):
        asked, ahead_ms = list[int](), 0

        async def now_ms(self) -> int:
            return await super().now_ms() + self.ahead_ms

        async def forget_before(self, time_ms: int, most: int = 500) -> int:
            self.asked.append(time_ms)
            return await super().forget_before(time_ms, most)

    async def main() -> None:
        store = Ahead()
        service = Service(root, store, tmp_path / "state", Limits(keep_days=1.0, forget_s=0.001))
        await service.open()
        await service.record([Event(event_id="1", user_id=USERS[1], video_id=VIDEOS[0], time_ms=0)])
        async with asyncio.timeout(30):
            while not store.asked:
                await asyncio.sleep(0)
            store.ahead_ms, before = 400 * 86_400_000, len(store.asked)
            while len(store.asked) < before + 3:
                await asyncio.sleep(0)
        assert len((await store.export(USERS[1])).events) == 1
        assert max(store.asked) <= store.asked[0] + 3_600_000 + 30_000
        await service.close()

    asyncio.run(main())


def test_what_is_older_than_is_kept_is_dropped_and_still_hidden(root: Path, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        await service.record([
            Event(event_id=str(n), user_id=USERS[1], video_id=VIDEOS[n % 20], time_ms=n) for n in range(700)
        ])
        async with asyncio.timeout(30):
            while (await service.store.export(USERS[1])).events:
                await asyncio.sleep(0.01)
        assert len(await service.store.history(USERS[1])) == 700
        assert not set(VIDEOS[:20]) & set(await ids(service, USERS[1]))

    within(root, tmp_path, work, keep_days=1e-9, forget_s=0.01)


class Failing(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []
        self.to_fail: set[str] = set()

    def fail(self, name: str) -> None:
        if name in self.to_fail:
            self.to_fail.remove(name)
            raise RuntimeError("out of order")

    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        self.fail("forget_before")
        return await super().forget_before(time_ms, most)

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        self.fail("changes")
        return await super().changes(after, most)

    async def answered(self, answers: Sequence[Answer]) -> None:
        self.fail("answered")
        self.kept += [answer.request_id for answer in answers]
        await super().answered(answers)


def test_a_store_that_fails_once_in_its_own_way_is_asked_again(root: Path, tmp_path: Path) -> None:
    async def main() -> None:
        store = Failing()
        service = Service(root, store, tmp_path / "state", Limits(keep_days=1e-9, forget_s=0.01, remember=1.0))
        await service.open()
        try:
            store.to_fail = {"forget_before", "changes", "answered"}
            await service.candidates(Ask(USERS[1], 5), "lost")
            async with asyncio.timeout(30):
                while store.to_fail:
                    await asyncio.sleep(0.01)
            await store.append([Event(event_id="1", user_id=USERS[1], video_id=VIDEOS[0], time_ms=0)])
            await store.change([Change(kind=ChangeKind.remove, id=VIDEOS[0], time_ms=0)])
            async with asyncio.timeout(30):
                while (await store.export(USERS[1])).events or service.versions.current.applied < 1:
                    await asyncio.sleep(0.01)
            assert VIDEOS[0] not in await ids(service, USERS[2])
            await service.candidates(Ask(USERS[2], 5), "kept")
            async with asyncio.timeout(30):
                while "kept" not in store.kept:
                    await asyncio.sleep(0.01)
            assert service.remembering.unkept == 1 - store.kept.count("lost")
        finally:
            await service.close()

    asyncio.run(main())


def test_what_is_not_old_or_to_be_kept_for_ever_stays(root: Path, tmp_path: Path) -> None:
    class Counting(MemoryStore):
        asked = 0

        async def forget_before(self, time_ms: int, most: int = 500) -> int:
            self.asked += 1
            return await super().forget_before(time_ms, most)

    async def main(keep_days: float, times: int) -> None:
        store = Counting()
        service = Service(root, store, tmp_path / "state", Limits(keep_days=keep_days, forget_s=0.001))
        await service.open()
        await service.record([Event(event_id="1", user_id=USERS[1], video_id=VIDEOS[0], time_ms=0)])
        async with asyncio.timeout(30):
            while store.asked < times:
                await asyncio.sleep(0)
        assert len((await store.export(USERS[1])).events) == 1
        await service.close()
        assert (store.asked > 0) == (times > 0)

    asyncio.run(main(keep_days=0.01, times=3))
    asyncio.run(main(keep_days=0.0, times=0))


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"keep_days": -1.0}, "keep_days is -1.0; give days up to 36500, or 0 to keep all for ever"),
        ({"keep_days": float("nan")}, "keep_days is nan; give days"),
        ({"forget_s": 0.0}, "forget_s is 0.0; give seconds above 0"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limit: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Limits(**limit)  # type: ignore[arg-type]


def test_ids_and_features_are_checked_before_anything_is_kept(root: Path, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        with pytest.raises(DataError, match="video 'x' is not a whole number"):
            await service.put_videos([(NEW, {}), ("x", {})])
        with pytest.raises(DataError, match="no feature 'color'"):
            await service.put_videos([(NEW, {}), (NEW + 1, {"color": "red"})])
        with pytest.raises(DataError, match="video 'x' is not a whole number"):
            await service.remove_videos(["x"])
        assert await service.store.changes(0) == []
        assert NEW not in await ids(service)
        shown = await service.candidates(Ask(None, 60), "request", Shown(allow=[VIDEOS[2]], without={"tags": ["a"]}))
        assert len(shown[0]) == 0

    within(root, tmp_path, work)


def test_who_chooses_by_features_waits_until_these_are_sorted_and_nobody_else_does(root: Path, tmp_path: Path) -> None:
    only = Shown(only={"tags": ["a"]})

    async def work(service: Service) -> None:
        version, sorted_now = service.version, Future[None]()
        assert version.preparing is not None
        await asyncio.wait([asyncio.wrap_future(version.preparing)])
        expected, _ = await service.candidates(Ask(None, 60), None, only)
        version.preparing = sorted_now
        waiting = asyncio.create_task(service.candidates(Ask(None, 60), None, only))
        for _ in range(20):
            assert len(await ids(service, USERS[4])) > 0
        assert not waiting.done()
        impatient = asyncio.create_task(service.candidates(Ask(None, 60), None, only))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.wait([impatient])
        assert not sorted_now.cancelled()
        sorted_now.set_result(None)
        assert list((await waiting)[0].ids) == list(expected.ids)

    within(root, tmp_path, work)


def test_a_version_is_prepared_before_it_is_adopted(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = versions(root)
    begun, may_end = threading.Event(), threading.Event()

    def prepare(_: Version) -> None:
        begun.set()
        assert may_end.wait(60)

    async def work(service: Service) -> None:
        monkeypatch.setattr(Version, "prepare", prepare)
        adopting = asyncio.create_task(service.versions.adopt(first))
        assert await asyncio.to_thread(begun.wait, 60)
        for _ in range(20):
            await ids(service, USERS[4])
        assert (service.version.name, adopting.done()) == (second, False)
        may_end.set()
        await adopting
        assert service.version.name == first

    within(root, tmp_path, work)


def test_recall_is_measured_where_anything_has_changed_and_keeps_no_version_that_is_left(
    root: Path, tmp_path: Path
) -> None:
    first, _ = versions(root)

    async def measured(service: Service) -> bool:
        service.versions.recall = 0.0
        await service.versions.measure()
        return service.versions.recall == 1

    async def work(service: Service) -> None:
        assert await measured(service)
        assert not await measured(service)
        await service.put_videos([(NEW, {})])
        assert await measured(service)
        left = weakref.ref(service.version)
        gc.collect()
        gc.disable()  # what waits for the collector keeps a version's memory, and files that were removed
        try:
            await service.versions.adopt(first)
            assert left() is None
        finally:
            gc.enable()
        assert await measured(service)

    within(root, tmp_path, work)


def test_at_a_start_nobody_waits_longer_for_features_than_for_anything(root: Path, tmp_path: Path) -> None:
    async def work(service: Service) -> None:
        service.version.preparing = Future()
        with pytest.raises(BusyError, match="features are being sorted, which a start begins with; ask again"):
            await service.candidates(Ask(None, 5), None, Shown(only={"tags": ["a"]}))

    within(root, tmp_path, work, deadline_ms=20.0)


class Forgetful(MemoryStore):
    """Forgets once that it was cancelled, as asyncio.wait_for may, and takes long to keep what comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.keeping = asyncio.Event(), asyncio.Event()
        self.slow, self.forgot, self.closed = False, False, False
        self.kept: list[str] = []

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        if self.slow and not self.forgot:
            self.asked.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.forgot = True
        return await super().changes(after, most)

    async def answered(self, answers: Sequence[Answer]) -> None:
        if not self.keeping.is_set():
            self.keeping.set()
            await asyncio.sleep(3600)
        self.kept += [answer.request_id for answer in answers]

    async def close(self) -> None:
        self.closed = True
        await super().close()


@pytest.mark.parametrize("fails", [False, True])
def test_a_stop_ends_who_forgets_that_it_was_told_to_keeps_what_was_being_kept_and_closes_the_store(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    async def main() -> Forgetful:
        store = Forgetful()
        service = Service(root, store, tmp_path / "state", Limits(remember=1.0))
        await service.open()
        store.slow = True
        await ids(service)
        await asyncio.gather(store.asked.wait(), store.keeping.wait())
        if not fails:
            await asyncio.wait_for(service.close(), 60)
            return store
        close = service.versions.close

        async def closed() -> None:
            await close()
            raise OSError("the disk is gone")

        monkeypatch.setattr(service.versions, "close", closed)
        with pytest.raises(OSError, match="the disk is gone"):
            await asyncio.wait_for(service.close(), 60)
        return store

    store = asyncio.run(main())
    assert store.forgot
    assert store.kept == ["request"]
    assert store.closed
