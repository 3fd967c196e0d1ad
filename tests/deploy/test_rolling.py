"""Two replicas behind a real nginx are replaced one after the other, and nobody who asks notices."""

import asyncio
import itertools
import shutil
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests import tiny
from tests.processes import DEPLOY, Process, ended, fetch, free_port, serve, until
from tests.stores import Server

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
WATCHER = USERS[5]
pytestmark = pytest.mark.skipif(
    not shutil.which("nginx"), reason="there is no nginx here; on Debian: apt-get install nginx-light"
)


@dataclass
class Site:
    """The replicas by port, what they share, a file or a Redis server, and the proxy before them."""

    bundle: Path
    folder: Path
    url: str
    ports: list[int]
    redis: str = ""
    replicas: dict[int, Process] = field(default_factory=dict)

    def start(self, port: int) -> None:
        """Start a replica and wait until it is ready."""
        own = self.folder / str(port)
        shared = [f"store.path={self.folder / 'state.db'}"]
        if self.redis:
            shared = ["store=redis", f"store.url={self.redis}", f"store.spool={own / 'spool.db'}"]
        self.replicas[port] = serve(self.bundle, own, port, *shared)
        self.replicas[port].wait_for(f"http://127.0.0.1:{port}/readyz")

    def stop(self, port: int) -> int:
        """Stop a replica; return how it ended."""
        return self.replicas[port].stop()

    def replace(self, port: int) -> int:
        """Stop a replica, start another in its place, wait until nginx asks it too; return how the old one ended."""
        status = self.stop(port)
        self.start(port)
        counter = 'towers_requests_total{method="POST",route="/v1/candidates",status="200"}'

        def is_asked() -> bool | None:
            return counter in fetch(f"http://127.0.0.1:{port}/metrics")[1] or None

        until(is_asked, f"nginx asks {port} again")
        return status


def shipped(folder: Path, port: int, replicas: list[int]) -> Path:
    """Write the shipped configuration with other ports, and less patience."""
    text = (DEPLOY / "nginx.conf").read_text()
    for old, new in {
        "127.0.0.1:8001 ": f"127.0.0.1:{replicas[0]} ",
        "127.0.0.1:8002 ": f"127.0.0.1:{replicas[1]} ",
        "listen 8080 ": f"listen 127.0.0.1:{port} ",
        "client_header_timeout 5s": "client_header_timeout 1s",
    }.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    assert "zone towers " in text  # or each of nginx's workers knows the replicas by itself
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@contextmanager
def proxied(folder: Path, replicas: list[int]) -> Iterator[str]:
    """Run nginx before replicas; give its address."""
    port = free_port()
    words = ["nginx", "-p", str(folder), "-c", str(shipped(folder, port, replicas)), "-g", "daemon off;"]
    with ended(Process(words, folder / "nginx.log")) as proxy:
        proxy.wait_for(f"http://127.0.0.1:{port}/metrics", 404)
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=["sqlite", "redis"])
def site(tiny_bundle: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    replicas, redis = [free_port(), free_port()], ""
    with ExitStack() as stack:
        if request.param == "redis":
            if not shutil.which("redis-server"):
                pytest.skip("there is no redis-server here; on Debian: apt-get install redis-server")
            server = Server()
            server.start()
            stack.callback(server.stop)
            redis = server.url
        found = Site(tiny_bundle, tmp_path, stack.enter_context(proxied(tmp_path, replicas)), replicas, redis)
        for replica in replicas:
            stack.callback(found.stop, replica)
            found.start(replica)
        yield found


class Load:
    """Asks for candidates and tells events at a steady rate until it is told to stop; counts what it gets."""

    def __init__(self, url: str) -> None:
        self._url, self._numbers = url, itertools.count()
        self.enough = asyncio.Event()
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.told = 0
        self.wrong: list[str] = []

    async def run(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=30) as client:
            await asyncio.gather(*(self._ask(client) for _ in range(16)))

    async def _ask(self, client: httpx.AsyncClient) -> None:
        while not self.enough.is_set():
            number = next(self._numbers)
            await self._post(client, "/v1/candidates", {"user_id": USERS[number % len(USERS)], "k": 10})
            event = {"event_id": f"{number}", "user_id": WATCHER, "video_id": VIDEOS[3], "time_ms": 10**12 + number}
            await self._post(client, "/v1/events", event)
            self.told += 1
            await asyncio.sleep(0.1)

    async def _post(self, client: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
        try:
            answer = await client.post(path, json=body)
        except httpx.HTTPError as error:
            self.wrong.append(f"{path}: {error!r}")
            return
        self.statuses[path, answer.status_code] += 1
        if answer.status_code != 200:
            self.wrong.append(f"{path}: {answer.status_code} {answer.text}")


async def replaced_under_load(site: Site) -> tuple[Load, list[int]]:
    load = Load(site.url)
    asking = asyncio.create_task(load.run())
    try:
        ends = [await asyncio.to_thread(site.replace, port) for port in site.ports]
    finally:
        load.enough.set()
        await asking
    return load, ends


@pytest.mark.timeout(900)  # four starts, of which the first may have to make machine code
def test_nobody_notices_a_rolling_update(site: Site) -> None:
    load, ends = asyncio.run(replaced_under_load(site))
    assert load.wrong == []
    assert {status for _, status in load.statuses} == {200}
    assert load.told >= 50
    assert load.statuses["/v1/candidates", 200] == load.statuses["/v1/events", 200] == load.told
    kept = httpx.get(f"{site.url}/v1/users/{WATCHER}").json()["events"]
    assert sorted(int(each["event_id"]) for each in kept) == list(range(load.told))
    for port, end in zip(site.ports, ends, strict=True):
        log = (site.folder / str(port) / "log").read_text()
        assert (end, log.count("Application shutdown complete")) == (0, 1)
        assert '"level": "error"' not in log
    given = httpx.post(f"{site.url}/v1/candidates", json={}, headers={"x-request-id": "mine"})
    made = httpx.post(f"{site.url}/v1/candidates", json={})
    assert (given.json()["request_id"], len(made.json()["request_id"])) == ("mine", 32)


def test_the_proxy_keeps_trouble_out(tmp_path: Path) -> None:
    with proxied(tmp_path, [free_port(), free_port()]) as url:
        assert httpx.post(f"{url}/v1/candidates", content=b" " * (4 * 2**20 + 1)).status_code == 413
        assert httpx.get(f"{url}/metrics").status_code == 404
        nobody = httpx.post(f"{url}/v1/candidates", json={})
        assert (nobody.status_code, nobody.headers["retry-after"]) == (503, "1")
        assert nobody.headers["content-type"] == "application/json"
        assert "no replica answers" in nobody.json()["error"]
        with socket.create_connection(("127.0.0.1", httpx.URL(url).port or 0), timeout=30) as slow:
            slow.sendall(b"POST /v1/candidates HTTP/1.1\r\n")
            with suppress(ConnectionResetError):
                assert slow.recv(100) == b""  # closed, and no replica's business
