"""A real process is killed while it is written to, again and again; and one is stopped while it is asked.

`TOWERS_CRASHES=200` kills so many times instead of a few.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from towers.serving import Client
from towers.serving.client import AnswerError

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
CRASHES = int(os.environ.get("TOWERS_CRASHES", "3"))
NEW = 2**60
pytestmark = pytest.mark.timeout(60 + 30 * CRASHES)


@contextmanager
def serving(bundle: Path, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """Run `towers serve` until the context ends; give the process, and a client once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"bundle={bundle}", f"state={folder / 'state'}", f"store.path={folder / 'state.db'}", f"port={port}"]
    command = [sys.executable, "-c", "from towers.cli import main; raise SystemExit(main())", "serve", *options]
    with (folder / "log").open("ab") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            with Client(f"http://127.0.0.1:{port}", timeout_s=30.0, tries=0) as client:
                while not answers(client):
                    assert process.poll() is None, (folder / "log").read_text()
                yield process, client
        finally:
            process.kill()


def answers(client: Client) -> bool:
    try:
        return bool(client.ready()["ready"])
    except AnswerError:
        time.sleep(0.05)
        return False


class Ledger:
    """What was acknowledged, and what was asked for without an answer: either may be there then."""

    def __init__(self) -> None:
        self.events: dict[int, dict[str, int]] = {}
        self.shown: dict[int, bool] = {}
        self.doubtful: set[int] = set()

    def write(self, client: Client, seed: int) -> None:
        """Write until nothing answers any more; each writer has users and videos of its own."""
        chance = random.Random(seed)  # noqa: S311
        user, mine = USERS[4 + seed % 8], [NEW + 100 * (seed % 8) + n for n in range(100)]
        try:
            for step in range(10_000):
                video = chance.choice(VIDEOS)
                name = f"{seed}-{step}"
                event = {"event_id": name, "user_id": user, "video_id": video, "time_ms": 10**12 + step}
                client.events([event])
                self.events.setdefault(user, {})[name] = video
                video, shown = chance.choice(mine), chance.random() < 0.6
                self.doubtful.add(video)
                client.put_videos({video: {"tags": ["a"]}}) if shown else client.remove_video(video)
                self.shown[video] = shown
                self.doubtful.discard(video)
        except AnswerError:
            return

    def check(self, client: Client) -> None:
        """Compare with what is served."""
        for user, events in self.events.items():
            kept = client.user(user)
            assert events.items() <= {each["event_id"]: each["video_id"] for each in kept["events"]}.items()
            assert set(events.values()) <= {each["video_id"] for each in kept["history"]}
            shown = set(client.candidates(user, k=1000)["video_ids"])
            assert not set(events.values()) & shown
            for video, there in self.shown.items():
                assert video in self.doubtful or (video in shown) == there, (video, there)


def test_a_start_that_fails_says_why_and_ends_badly(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    words = ["serve", f"bundle={tiny_bundle}", f"state={tmp_path / 'file' / 'state'}", "port=0", "store=memory"]
    code = "from towers.cli import main; raise SystemExit(main())"
    ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    told = f"error: {tmp_path / 'file' / 'state'}: Not a directory; is the path right, and may you write there?"
    assert ended.stderr.splitlines()[-1] == told
    assert "stopped; what was accepted was answered" not in ended.stdout
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = [*words[:2], f"state={tmp_path / 'state'}", f"port={port}", "store=memory"]
        ended = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert (
        ended.stderr.splitlines()[-1]
        == f"error: 127.0.0.1:{port} cannot be listened at, as said above; give a host= of this machine and a port= "
        "that is free and may be used, or stop who has it"
    )


def test_nothing_that_was_acknowledged_is_lost(tiny_bundle: Path, tmp_path: Path) -> None:
    ledger, chance = Ledger(), random.Random(0)  # noqa: S311
    for crash in range(CRASHES):
        with serving(tiny_bundle, tmp_path) as (process, client):
            ledger.check(client)
            writers = [threading.Thread(target=ledger.write, args=(client, 8 * crash + n)) for n in range(4)]
            for writer in writers:
                writer.start()
            time.sleep(chance.uniform(0.05, 0.6))
            process.kill()
            for writer in writers:
                writer.join()
    with serving(tiny_bundle, tmp_path) as (_, client):
        ledger.check(client)
    assert sum(map(len, ledger.events.values())) > 5 * CRASHES
    assert len(ledger.shown) > min(5 * CRASHES, 200)  # of 400 that writers share


def test_a_stop_answers_what_was_accepted(tiny_bundle: Path, tmp_path: Path) -> None:
    body = b'{"user_id": null, "k": 5}'
    with serving(tiny_bundle, tmp_path) as (process, client):
        address = client.url.removeprefix("http://").split(":")
        half: list[socket.socket] = []
        for _ in range(20):
            connection = socket.create_connection((address[0], int(address[1])), timeout=30)
            head = f"POST /v1/candidates HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            connection.sendall(head + body[:7])
            half.append(connection)
        client.candidates(None)  # what was sent before has been read by now
        event: dict[str, Any] = {"user_id": USERS[4], "video_id": VIDEOS[0], "event_id": "last"}
        assert client.events([event])["new"] == 1
        process.send_signal(signal.SIGTERM)
        for connection in half:
            connection.sendall(body[7:])
        for connection in half:
            with connection, connection.makefile("rb") as answer:
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
        assert process.wait(60) == 0
    with serving(tiny_bundle, tmp_path) as (_, client):
        assert len(client.user(USERS[4])["events"]) == 1
        assert client.user(USERS[4])["answers"] == []
