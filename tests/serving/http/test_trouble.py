"""Clocks that jump and disks that are full, through the whole service: reads go on, and writes once they can."""

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import tiny
from tests.processes import Process, ended, free_port, serve, until
from tests.serving.http.conftest import Start
from towers.serving import Client
from towers.serving.client import AnswerError
from towers.serving.http.keys import KeyConfig, add_key

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
DAY_MS, NEW, END_OF_TIME = 86_400_000, 2**60, 2**53
AHEAD_MS = round(time.time() * 1000) + 3_600_000


class Clock:
    """The machine's clock, which can be set; what only rises is left alone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        true, self.ahead_ms = time.time_ns, 0
        monkeypatch.setattr(time, "time_ns", lambda: true() + self.ahead_ms * 1_000_000)
        monkeypatch.setattr(time, "time", lambda: true() / 1e9 + self.ahead_ms / 1000)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_an_event_of_a_time_to_come_is_refused(start: Start, tiny_bundle: Path) -> None:
    client = start(tiny_bundle)
    event = {"event_id": "e7", "user_id": USERS[4], "video_id": VIDEOS[0], "time_ms": END_OF_TIME}
    ahead = f"time_ms is {END_OF_TIME}, more than a day ahead of this machine's clock"
    with pytest.raises(AnswerError, match=f"event of user {USERS[4]} and video {VIDEOS[0]}: {ahead}"):
        client.events([event | {"event_id": "e6", "time_ms": 0}, event])
    assert client.user(USERS[4])["events"] == []
    for asked in ({"time_ms": END_OF_TIME}, {"history": [{"video_id": VIDEOS[0], "time_ms": END_OF_TIME}]}):
        with pytest.raises(AnswerError, match=ahead) as refused:
            client.candidates(None, k=5, **asked)
        assert refused.value.status == 400


@pytest.mark.parametrize("time_ms", [AHEAD_MS, -END_OF_TIME, 0], ids=["in an hour", "long ago", "1970"])
def test_an_event_of_any_time_counts_and_later_ones_too(start: Start, tiny_bundle: Path, time_ms: int) -> None:
    client, user = start(tiny_bundle), USERS[4]
    before = client.candidates(user, k=40)
    odd, now = before["video_ids"][:2]
    assert client.events([{"user_id": user, "video_id": odd, "time_ms": time_ms}])["new"] == 1
    between = client.candidates(user, k=40)
    assert client.events([{"user_id": user, "video_id": now}])["new"] == 1
    after = client.candidates(user, k=40, time_ms=time_ms)
    for found, gone in ((between, {odd}), (after, {odd, now})):
        assert found["path"] == "personal"  # and not popular, which is shown where towers fail
        assert set(found["video_ids"]) == set(before["video_ids"]) - gone
    assert after["video_ids"] != [video for video in between["video_ids"] if video != now]
    known = [each["video_id"] for each in client.user(user)["history"]][-2:]
    assert known == ([now, odd] if time_ms == AHEAD_MS else [known[0], now])


@pytest.mark.parametrize("days", [-400, 400])
def test_whatever_the_clock_says_later_is_what_comes_later(
    start: Start, tiny_bundle: Path, tmp_path: Path, clock: Clock, days: int
) -> None:
    key = add_key(KeyConfig(file=str(tmp_path / "keys"), name="k", scopes=["read", "write"], per_second=1000.0))
    client = start(tiny_bundle, keys=str(tmp_path / "keys"), key=key)
    assert client.candidates(USERS[4])["path"] == "personal"
    client.put_videos({NEW: {"tags": ["a"]}})
    client.remove_video(VIDEOS[3])
    clock.ahead_ms = days * DAY_MS
    client.remove_video(NEW)
    client.put_videos({VIDEOS[3]: {"tags": ["b"]}})
    shown = client.candidates(None, k=1000)["video_ids"]
    assert (NEW in shown, VIDEOS[3] in shown) == (False, True)
    watched = client.candidates(USERS[4], k=1)["video_ids"][0]
    assert client.events([{"user_id": USERS[4], "video_id": watched}]) == {"new": 1, "repeated": 0, "unknown_videos": 0}
    assert watched not in client.candidates(USERS[4], k=1000)["video_ids"]
    client.erase_user(USERS[4])
    again, nobody = client.candidates(USERS[4], k=9), client.candidates(None, k=9)
    assert (again["path"], again["video_ids"]) == ("new_user", nobody["video_ids"])
    assert client.user(USERS[4])["history"] == []


def test_a_limit_of_requests_is_of_time_that_passes(
    start: Start, tiny_bundle: Path, tmp_path: Path, clock: Clock
) -> None:
    key = add_key(KeyConfig(file=str(tmp_path / "keys"), name="k", per_second=1.0))
    client, headers = start(tiny_bundle, keys=str(tmp_path / "keys")), {"authorization": f"Bearer {key}"}

    def refused() -> bool:
        return httpx.post(f"{client.url}/v1/candidates", json={"k": 1}, headers=headers).status_code == 429

    until(lambda: refused() or None, "the limit is reached")
    clock.ahead_ms = 400 * DAY_MS
    assert sum(refused() for _ in range(20)) > 10  # a day that did not pass earns nothing
    clock.ahead_ms = -400 * DAY_MS
    until(lambda: not refused() or None, "a second passed")


@contextmanager
def no_file_above(process: Process, size: int) -> Iterator[None]:
    """Let a process write no file that is larger, as if its disk were full."""
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def served(bundle: Path, folder: Path, *options: str) -> Iterator[tuple[Process, Client]]:
    """Run `towers serve` in a process of its own."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with ended(serve(bundle, folder, port, *options)) as process, Client(url, timeout_s=30.0, tries=0) as client:
        process.wait_for(f"{url}/readyz")
        yield process, client


def test_a_full_disk_refuses_writes_alone_and_only_while_it_is_full(tiny_bundle: Path, tmp_path: Path) -> None:
    user, store = USERS[4], tmp_path / "own" / "state.db"
    with served(tiny_bundle, tmp_path / "own", f"store.path={store}", "remember=1") as (process, client):
        everything = client.candidates(user, k=40)["video_ids"]

        acknowledged: list[int] = []

        def tell(numbers: range) -> None:
            labels = {f"{n}": "x" * 200 for n in range(20)}
            for number in numbers:
                video = everything[number % 5]
                client.events([{"user_id": user, "video_id": video, "event_id": f"{number}", "labels": labels}])
                acknowledged.append(number)

        tell(range(1))
        size = store.with_name("state.db-wal").stat().st_size
        with no_file_above(process, size + 100_000):
            with pytest.raises(AnswerError, match=r"state\.db: .*; make room on its disk") as refused:
                tell(range(1, 1000))
            assert refused.value.status == 503
        with no_file_above(process, size):  # or there might be room for something small
            with pytest.raises(AnswerError, match="make room on its disk"):
                client.put_videos({NEW: {}})
            with pytest.raises(AnswerError, match="make room on its disk"):
                client.erase_user(user)
            found = client.candidates(user, k=40)
            assert (found["path"], found["history_known"]) == ("personal", True)
            assert set(found["video_ids"]) == set(everything) - set(everything[: len(acknowledged)][:5])
            assert "make room on its disk" in client.ready()["store_away"]
        tell(range(len(acknowledged), len(acknowledged) + 1))
        assert client.ready()["store_away"] == ""
        assert [each["event_id"] for each in client.user(user)["events"]] == [f"{number}" for number in acknowledged]
        assert client.put_videos({NEW: {}}) == {"shown": 1}
        assert NEW in client.candidates(user, k=40)["video_ids"]


def test_an_index_that_could_not_be_written_is_written_again(tiny_bundle: Path, tmp_path: Path) -> None:
    with served(tiny_bundle, tmp_path / "own", "store=memory") as (process, client):
        (journal,) = (tmp_path / "own" / "state").rglob("*journal*")
        before = client.candidates(None, k=1000)["video_ids"]
        with no_file_above(process, journal.stat().st_size + 200):
            with pytest.raises(AnswerError, match=r"cannot be written.*make room on its disk") as refused:
                client.put_videos({NEW + n: {"tags": ["a"]} for n in range(50)})
            assert refused.value.status == 503
            with pytest.raises(AnswerError, match=r"make room on its disk") as refused:
                client.remove_video(before[0])
            assert refused.value.status == 503
            assert client.candidates(USERS[4], k=5)["path"] == "personal"
        until(lambda: NEW + 49 in client.candidates(None, k=1000)["video_ids"] or None, "the index is opened again")
        shown = client.candidates(None, k=1000)["video_ids"]
        assert set(shown) == {*before[1:], *(NEW + n for n in range(50))}
        assert client.put_videos({before[0]: {}}) == {"shown": 1}
        assert len(client.candidates(None, k=1000)["video_ids"]) == len(before) + 50
        assert client.bundle()["refused"] == ""
        assert len(list((tmp_path / "own" / "state" / "indexes").iterdir())) == 1
