"""Clients that dawdle, flood or talk nonsense are cut, and keep nobody waiting; over real sockets."""

import json
import select
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests import tiny
from tests.processes import ended, free_port, serve
from tests.serving.http.conftest import running
from towers.serving.http.app import App, Door
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState
from towers.types import ConfigError

USER = tiny.ids_of(tiny.USERS, string=False)[4]
HEAD = b"POST /v1/candidates HTTP/1.1\r\nhost: localhost\r\n"
BODY = b'{"user_id": null, "k": 3}'
WHOLE = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
Serving = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def serving(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Serve the tiny bundle with a door of one's own."""

    @contextmanager
    def served(**door: float) -> Iterator[str]:
        state = str(tmp_path_factory.mktemp("door") / "state")
        made = make_app(ServeConfig(bundle=str(tiny_bundle), state=state, store=MemoryState()))
        with running(App(made.service, Door(**door))) as url:  # type: ignore[arg-type]
            yield url

    return served


@pytest.fixture(scope="module")
def quick(serving: Serving) -> Iterator[str]:
    """The address of a service that waits for nobody for longer than 0.3 s."""
    with serving(client_s=0.3) as url:
        yield url


@pytest.fixture(scope="module")
def patient(serving: Serving) -> Iterator[str]:
    """The address of a service that waits for a minute: whoever is cut by it is cut for something else."""
    with serving(client_s=60.0, head_bytes=20_000) as url:
        yield url


def connected(url: str) -> socket.socket:
    """Return a connection whose other end must do something within half a minute."""
    parts = httpx.URL(url)
    return socket.create_connection((parts.host, parts.port or 0), timeout=30)


def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the other end closes."""
    came = b""
    try:
        while more := connection.recv(2**16):
            came += more
    except ConnectionResetError:
        pass
    return came


def answers(said: bytes) -> list[tuple[int, bytes]]:
    """Return the status and the body of each answer of a connection."""
    found = []
    while said:
        head, _, said = said.partition(b"\r\n\r\n")
        (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
        found.append((int(head.split()[1]), said[:length]))
        said = said[length:]
    return found


def fault(said: bytes) -> tuple[int, str]:
    """Return the status and the words of the only answer of a connection."""
    ((status, body),) = answers(said)
    return status, json.loads(body)["error"]


def ready_of(connections: list[socket.socket], patience_ms: int) -> list[socket.socket]:
    """Those that have something to say, or have been closed; also where this process has a thousand files open."""
    waiting, by_number = select.poll(), {each.fileno(): each for each in connections}
    for number in by_number:
        waiting.register(number, select.POLLIN)
    return [by_number[number] for number, _ in waiting.poll(patience_ms)]


def test_who_says_nothing_is_cut_and_keeps_nobody_waiting(quick: str) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(quick)) for _ in range(50)]
        assert httpx.get(f"{quick}/healthz").status_code == 200
        assert [rest(one) for one in silent] == [b""] * 50


def test_a_head_a_byte_at_a_time_is_cut_while_others_are_answered(quick: str) -> None:
    # A byte for each answer that another client gets: as slow as that, and never silent.
    with connected(quick) as slow, httpx.Client(base_url=quick) as other:
        for byte in HEAD + b"x-slow: " + b"a" * 100_000:
            assert other.get("/healthz").status_code == 200
            if ready_of([slow], 0):
                break
            slow.sendall(bytes([byte]))
        assert fault(rest(slow)) == (408, "the request's head did not come within 0.3 s")


def test_a_second_head_is_waited_for_no_longer_than_the_first(quick: str) -> None:
    with connected(quick) as slow:
        slow.sendall(WHOLE + HEAD)
        (first, _), (second, why) = answers(rest(slow))
        assert (first, second) == (200, 408)
        assert b"head did not come within 0.3 s" in why


def test_a_body_that_nobody_reads_holds_no_connection(quick: str) -> None:
    with connected(quick) as slow, httpx.Client(base_url=quick) as other:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n")
        assert slow.recv(12) == b"HTTP/1.1 200"
        closed = select.poll()
        closed.register(slow, select.POLLRDHUP)
        for _ in range(100_000):
            assert other.get("/healthz").status_code == 200
            if closed.poll(0):
                break
            slow.sendall(b"x")
        assert answers(b"HTTP/1.1 200" + rest(slow))[0][1] == b'{"alive":true}'


def test_who_takes_no_answers_is_cut(quick: str, caplog: pytest.LogCaptureFixture) -> None:
    ask = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 50
    with connected(quick) as deaf:
        cut = select.poll()
        cut.register(deaf, 0)  # says nothing but that it was cut; nothing is read
        for _ in range(10_000):
            try:
                deaf.send(ask, socket.MSG_DONTWAIT)
            except BlockingIOError:  # the service reads no more until what it said is taken
                break
            except (ConnectionResetError, BrokenPipeError):
                break
        assert cut.poll(30_000) != []
    assert httpx.get(f"{quick}/healthz").status_code == 200
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_of_too_many_connections_one_that_waits_goes(serving: Serving) -> None:
    with serving(client_s=60.0, connections=3) as url, ExitStack() as stack:
        silent = [stack.enter_context(connected(url)) for _ in range(3)]
        with connected(url) as asking:
            asking.sendall(WHOLE)
            assert asking.recv(12) == b"HTTP/1.1 200"
        (gone,) = ready_of(silent, 30_000)
        assert rest(gone) == b""


@pytest.mark.parametrize("begin", [b"GET /healthz?", b"GET /healthz HTTP/1.1\r\nx-a: ", b"GET /healthz HTTP/1.1\r\nx"])
@pytest.mark.parametrize("size", [21_000, 90_000, 2_000_000])
def test_a_head_that_is_too_long_is_refused(patient: str, begin: bytes, size: int) -> None:
    with connected(patient) as connection:
        try:
            connection.sendall(begin + b"a" * size + b"\r\n\r\n" * (b"x-a" in begin))
        except (ConnectionResetError, BrokenPipeError):
            assert size > 2**20  # it was refused before all of it was sent
        said = rest(connection)
    assert said or size > 2**20  # what was not read may take the answer with it
    if said:
        assert fault(said) == (431, "the request's head is longer than 20000 bytes; send less")


def test_a_long_body_counts_for_no_head(patient: str) -> None:
    body = b'{"user_id": null, "k": 3, "exclude": [%s1]}' % (b"1," * 50_000)
    with connected(patient) as connection:
        connection.sendall(HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body) + body)
        assert answers(rest(connection))[0][0] == 200


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET http:// HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT elsewhere:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nx y: 1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_refused(patient: str, said: bytes) -> None:
    with connected(patient) as connection:
        connection.sendall(said)
        status, why = fault(rest(connection))
        assert (status, why.startswith("this is no HTTP/1.1")) == (400, True)


UPGRADE = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAA\r\n"


@pytest.mark.parametrize("cut", [0, len(BODY)])
def test_a_wish_for_another_protocol_is_passed_over(patient: str, cut: int) -> None:
    whole = HEAD + UPGRADE.replace(b"upgrade:", b"Upgrade:") + WHOLE.removeprefix(HEAD)
    with connected(patient) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(whole[: len(whole) - cut])
        connection.sendall(whole[len(whole) - cut :])
        connection.sendall(WHOLE.replace(HEAD, HEAD + b"connection: close\r\n"))
        found = answers(rest(connection))
    assert [(status, len(json.loads(body)["video_ids"])) for status, body in found] == [(200, 3)] * 2


def test_what_follows_such_a_wish_is_nobodys_request(patient: str) -> None:
    # In two pieces, so that the wish stands in the second; the body would be read as a request of its own.
    hidden = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
    with connected(patient) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(WHOLE + HEAD)
        assert answers(connection.recv(2**16))[0][0] == 200
        connection.sendall(UPGRADE + b"content-length: %d\r\n\r\n" % len(hidden) + hidden)
        status, why = fault(rest(connection))
    assert (status, why[:31]) == (400, "this service speaks HTTP/1.1 al")


def test_a_refusal_comes_after_the_answers_to_what_was_asked_before(patient: str) -> None:
    with connected(patient) as connection:
        connection.sendall(WHOLE * 3 + b"nonsense\r\n\r\n" + WHOLE)
        found = answers(rest(connection))
    assert [status for status, _ in found] == [200, 200, 200, 400]
    assert [len(json.loads(body)["video_ids"]) for _, body in found[:3]] == [3] * 3
    assert b"no HTTP/1.1" in found[3][1]


CHUNKS = b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)


def test_no_field_follows_a_body_in_chunks(patient: str) -> None:
    with connected(patient) as connection:
        connection.sendall(HEAD + CHUNKS + b"authorization: Bearer stolen\r\n\r\n")
        status, words = fault(rest(connection))
        assert (status, words[:20]) == (400, "this is no HTTP/1.1:")
    with connected(patient) as connection:
        connection.sendall(HEAD + b"connection: close\r\n" + CHUNKS + b"\r\n")
        assert [status for status, _ in answers(rest(connection))] == [200]


def test_what_follows_a_body_without_end_is_cut(patient: str) -> None:
    with connected(patient) as connection:
        try:
            connection.sendall(HEAD + CHUNKS + b"x: " + b"a" * 20_000_000)
        except (ConnectionResetError, BrokenPipeError):
            return
        said = rest(connection)  # what was not read may take the answer with it
    assert not said or fault(said)[0] == 400


def test_requests_sent_together_are_answered_in_order(patient: str) -> None:
    with connected(patient) as connection:
        ask = b"".join(
            HEAD + b"content-length: %d\r\n\r\n" % len(body) + body for k in range(1, 31) for body in [b'{"k": %d}' % k]
        )
        connection.sendall(ask + b"GET /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        *found, last = answers(rest(connection))
    assert [status for status, _ in found] == [200] * 30
    assert [len(json.loads(body)["video_ids"]) for _, body in found] == list(range(1, 31))
    assert last[0] == 404


def test_no_more_requests_than_a_hundred_wait_on_a_connection(patient: str) -> None:
    with connected(patient) as connection:
        # So few that all are read: a server that closes with unread bytes resets the connection, and answers are lost.
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n" * 400)
        *found, (status, why) = answers(rest(connection))
    assert len(found) >= 100
    assert {status for status, _ in found} == {200}
    assert status == 400
    assert b"100 requests wait on this connection" in why


def test_a_body_that_breaks_off_hurts_nobody(patient: str) -> None:
    def counted() -> dict[str, float]:
        lines = httpx.get(f"{patient}/metrics").text.splitlines()
        told = (line.rsplit(" ", 1) for line in lines if 'route="/v1/events"' in line and "_total" in line)
        return {name: float(number) for name, number in told}

    before = counted()
    with connected(patient) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n[{")
        connection.shutdown(socket.SHUT_WR)
        rest(connection)
    with httpx.Client(base_url=patient) as client:
        assert client.post("/v1/events", content=b'{"user_id": %d, "video_id": 1}' % USER).status_code == 200
    more = {name.split('status="')[1][:3]: number - before.get(name, 0) for name, number in counted().items()}
    assert more == {"400": 1.0, "200": 1.0}


def test_the_command_knows_the_options(tiny_bundle: Path, tmp_path: Path) -> None:
    port = free_port()
    with ended(serve(tiny_bundle, tmp_path, port, "client_s=0.2", "connections=64", "store=memory")) as process:
        process.wait_for(f"http://127.0.0.1:{port}/readyz")
        with connected(f"http://127.0.0.1:{port}") as silent:
            assert rest(silent) == b""
    with pytest.raises(ConfigError, match=r"client_s=0.0 and connections=5 let nobody in"):
        ServeConfig(bundle="b", store=MemoryState(), client_s=0.0, connections=5)
