"""Whatever comes over a real connection, nothing fails inside: no 5xx, no error in the log, and no answer is missing.

`TOWERS_FUZZ=2000` tries so many examples of each kind instead of a few dozen.
"""

import json
import logging
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests import tiny
from tests.serving.http.conftest import running
from towers.serving.http.app import App, Door
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import SqliteState

# The service runs in a thread beside the draws, and what it draws itself is none of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
EXAMPLES = int(os.environ.get("TOWERS_FUZZ", "60"))
fuzzed = settings(max_examples=EXAMPLES)
pytestmark = pytest.mark.timeout(120 + 3 * EXAMPLES)

FIELDS = {
    "/v1/candidates": "user_id k exclude allow only without history time_ms keep_seen",
    "/v1/events": "user_id video_id time_ms positive event_id labels request_id",
    "/v1/videos": "video_id features",
    "/v1/embeddings/users": "ids",
    "/v1/embeddings/videos": "ids",
    "/v1/bundle": "version",
}
METHODS = {"/v1/videos": "PUT"}
ODD = [
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-0",
        "-0.0",
        "1E400",
        "0x10",
        "1_000",
        "01",
        "1.",
        "5e-324",
        "1.5",
        "1e2",
    ),
    *(str(2**53), str(-(2**53)), str(2**53 + 1), str(2**63 - 1), str(-(2**63)), str(2**63), str(2**64), "9" * 400),
    *(r'"\ud800"', r'"\udfff\ud800"', r'"\u0000"', '""', '"' + "x" * 300 + '"', '"\x00"', '"\xf0\x9f\x8e\xac"'),
    *("null", "true", "false", "[]", "{}", "[[]]", '{"":null}', "[null]"),
    *("[" * 3000 + "]" * 3000, '{"a":' * 900 + "1" + "}" * 900, "[" * 10_000, "1" * 5000),
]
"""JSON that is odd, and some that is none."""
FITTING = [
    *(str(each) for each in (*USERS[:6], *VIDEOS[:6], 0, 1, 1000, 1001, -1, 10**12, 2**53, -(2**53), 2**62)),
    *(f"[{VIDEOS[3]},{VIDEOS[4]}]", f'[{{"video_id":{VIDEOS[5]},"time_ms":{2**53}}},{{"video_id":{VIDEOS[6]}}}]'),
    *(f'[{{"video_id":{VIDEOS[5]},"time_ms":{-(2**53)}}}]', '{"tags":["a"]}', '{"tags":"b"}', '{"tags":[1,"a"]}'),
    *('{"watch_ms":1e308,"x":null,"y":true}', '"one"', '"000001-00000000"'),
    *('{"tags":' + "[" * 3000 + "]" * 3000 + "}", '{"tags":' + '{"a":' * 3000 + "1" + "}" * 3001),
]
"""Values that suit one field or another."""
values = (
    st.sampled_from(FITTING)
    | st.sampled_from(ODD)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=12,
    ).map(json.dumps)
)


@st.composite
def objects(draw: st.DrawFn, path: str) -> str:
    """An object of a path's fields, each once, twice or not at all, with values that suit it or do not."""
    names = st.sampled_from([*FIELDS[path].split(), "unknown", ""])
    pairs = draw(st.lists(st.tuples(names, st.sampled_from(FITTING) | values), max_size=7))
    return "{" + ",".join(f'"{name}":{value}' for name, value in pairs) + "}"


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, bytes]:
    """A path and a body for it: fitting, odd, damaged, or any bytes."""
    path = draw(st.sampled_from(sorted(FIELDS)))
    one = objects(path)
    text = draw(one | st.lists(one, max_size=3).map(lambda some: f"[{','.join(some)}]") | values)
    body = text.encode("utf-8", "surrogatepass")
    kind = draw(st.sampled_from(["as it is", "cut", "changed", "any"]))
    if kind == "cut":
        body = body[: draw(st.integers(0, len(body)))]
    elif kind == "changed":
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(min_size=1, max_size=4)) + body[at + draw(st.integers(0, 3)) :]
    elif kind == "any":
        body = draw(st.binary(max_size=200))
    return path, body


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage() + str(record.exc_info))


class Target:
    """A service that is thrown things at."""

    def __init__(self, url: str, errors: Errors) -> None:
        parts = httpx.URL(url)
        self._address, self._errors = (parts.host, parts.port or 0), errors

    def throw(self, data: bytes) -> bytes:
        """Send bytes; return all that comes until the other end closes, which it must within a minute."""
        came = b""
        with socket.create_connection(self._address, timeout=60) as connection:
            try:
                connection.sendall(data)
                while more := connection.recv(2**16):
                    came += more
            except (ConnectionResetError, BrokenPipeError):  # it was refused before all was sent
                pass
        return came

    def check(self, came: bytes) -> None:
        """Fail where an answer says that the service failed, or its log does; and where it answers nothing more."""
        assert not re.search(rb"(^|\r\n|\})HTTP/1\.1 5", came), came
        said, self._errors.said = self._errors.said, []
        assert said == []
        healthy = self.throw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
        assert healthy.startswith(b"HTTP/1.1 200 "), healthy


@pytest.fixture(scope="module")
def target(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder, errors = tmp_path_factory.mktemp("fuzz"), Errors()
    store = SqliteState(path=str(folder / "state.db"))
    made = make_app(
        ServeConfig(bundle=str(tiny_bundle), state=str(folder / "state"), store=store, deadline_ms=60_000.0)
    )
    logging.getLogger().addHandler(errors)
    try:
        with running(App(made.service, Door(client_s=0.2, head_bytes=8192))) as url:
            yield Target(url, errors)
    finally:
        logging.getLogger().removeHandler(errors)


@fuzzed
@given(asked())
@example(("/v1/candidates", f'{{"user_id":{USERS[4]},"time_ms":{-(2**53)}}}'.encode()))
@example(("/v1/candidates", f'{{"history":[{{"video_id":{VIDEOS[4]},"time_ms":{2**53}}}],"time_ms":0}}'.encode()))
@example(("/v1/events", b'{"user_id":1,"video_id":2,"event_id":"\\ud800"}'))
@example(("/v1/events", b'{"user_id":1,"video_id":2,"labels":{"\\ud800":1}}'))
@example(("/v1/events", b'{"user_id":1,"video_id":2,"labels":{"a":NaN}}'))
@example(("/v1/events", b'{"user_id":1,"user_id":2,"video_id":3,"video_id":4}'))
@example(("/v1/videos", b'{"video_id":1,"features":{"tags":["\\ud800"]}}'))
@example(("/v1/videos", b'{"video_id":1,"features":{"tags":[' + b"9" * 5000 + b"]}}"))
@example(("/v1/candidates", b'{"u\xf8er_id": 1}'))
@example(("/v1/videos", b'{"video_id":1,"features":{"tags":' + b"[" * 3000 + b"]" * 3000 + b"}}"))
@example(("/v1/videos", b'{"video_id":1,"features":{"tags":' + b'{"a":' * 3000 + b"1" + b"}" * 3002))
@example(("/v1/candidates", b'{"only":{"tags":[-0,1,""]}}'))
def test_no_body_makes_it_fail(target: Target, ask: tuple[str, bytes]) -> None:
    path, body = ask
    head = f"{METHODS.get(path, 'POST')} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
    came = target.throw(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    status, _, told = came.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 (200|400|404|409|413) ", status), came
    assert isinstance(json.loads(told), dict)
    target.check(came)


tokens = st.sampled_from([
    *(
        "content-length",
        "transfer-encoding",
        "expect",
        "upgrade",
        "connection",
        "host",
        "authorization",
        "x-request-id",
    ),
    *("cookie", "accept-encoding", "content-type", "trailer", "range", "sec-websocket-key", "x" * 500),
])
said = st.sampled_from([
    *(
        b"0",
        b"1",
        b"-1",
        b"+5",
        b"1e3",
        b"5, 5",
        b"99999999999999999999999",
        b"chunked",
        b"gzip, chunked",
        b"100-continue",
    ),
    *(
        b"websocket",
        b"h2c",
        b"upgrade",
        b"close, keep-alive",
        b"Bearer",
        b"Bearer \xff\xfe",
        b"",
        b" ",
        b"\t",
        b"a" * 4000,
    ),
    *(b'a"} injected', b"\x80\xff", b"../..", b"bytes=0-1"),
]) | st.binary(max_size=30).filter(lambda text: not re.search(rb"[\r\n\x00]", text))
targets = st.sampled_from([
    *(b"/v1/candidates", b"/v1/events", b"/healthz", b"/metrics", b"/openapi.json", b"/", b"//", b"/v1/users/%00"),
    *(b"/v1/users/%ff%fe", b"/v1/users/" + b"9" * 300, b"/v1/videos/%ED%A0%80/similar?k=1", b"/v1/users/1?k=%ff"),
    *(b"/v1/videos/1/similar?k=" + b"9" * 5000, b"/v1/videos/1/similar?k=1&k=2;k=%zz", b"/v1/users/../../etc", b"*"),
    *(b"http://elsewhere/healthz", b"/?" + b"&".join([b"a=1"] * 2000)),
])


@fuzzed
@given(
    st.sampled_from([
        b"GET",
        b"POST",
        b"PUT",
        b"DELETE",
        b"HEAD",
        b"OPTIONS",
        b"PATCH",
        b"TRACE",
        b"CONNECT",
        b"QUERY",
    ]),
    targets | st.binary(max_size=40).map(lambda text: b"/" + text),
    st.lists(st.tuples(tokens, said), max_size=6),
    st.binary(max_size=60) | st.just(b"5\r\n[1,2]\r\n0\r\nx: y\r\n\r\n"),
)
def test_no_head_makes_it_fail(
    target: Target, method: bytes, path: bytes, headers: list[tuple[str, bytes]], body: bytes
) -> None:
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    target.check(target.throw(method + b" " + path + b" HTTP/1.1\r\n" + lines + b"\r\n" + body))


@fuzzed
@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n", b"GET / HTTP/1.1", b"\r\n\r\n", b": "]), max_size=12)
)
def test_no_bytes_make_it_fail(target: Target, pieces: list[bytes]) -> None:
    target.check(target.throw(b"".join(pieces)))
