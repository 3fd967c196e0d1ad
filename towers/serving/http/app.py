"""The ASGI app: who asks, what for, and what is answered when something is wrong."""

import asyncio
import gc
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import quote

import msgspec

from towers.serving.http.fields import explained
from towers.serving.http.keys import Key, Keys, clock
from towers.serving.http.messages import Fault
from towers.serving.http.metrics import Metrics
from towers.serving.http.neighbours import check_neighbour
from towers.serving.http.routes import Call, RefusedError, Reply, Route, Table, query_of, unquoted
from towers.serving.http.table import routes
from towers.serving.queue import BusyError
from towers.serving.service import Service
from towers.serving.store import StoreAwayError
from towers.types import BundleError, ConfigError, DataError, TowersError, UnknownIdError

_log = logging.getLogger(__name__)
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_LATE = "late"
_ALWAYS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'"),
]
_STATUS: list[tuple[type[Exception], int]] = [
    (BusyError, 503),
    (StoreAwayError, 503),
    (UnknownIdError, 404),
    (BundleError, 409),
    (ConfigError, 400),
    (DataError, 400),
]
_OURS, _counted = secrets.token_hex(8), count(1)
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class Door:
    """What is let in.

    Attributes:
        keys: Who may ask; None lets anybody, for loopback.
        body_bytes: The longest body.
        head_bytes: The longest head of a request.
        client_s: How long a client may take to send a head, to send a body, and to take an answer.
        connections: How many may be open.
    """

    keys: Keys | None = None
    body_bytes: int = 4 * 2**20
    head_bytes: int = 2**16
    client_s: float = 10.0
    connections: int = 4096


class App:
    """Serves a service over HTTP; opens it when the server starts and closes it after the last answer.

    Args:
        service: What answers.
        door: What is let in.

    Attributes:
        service: What answers.
        door: What is let in.
        metrics: What is counted.
        keys: Who may ask; None where anybody may.
        failed: Why it could not start; None where it could.
        routes: All that can be asked.
    """

    failed: Exception | None

    def __init__(self, service: Service, door: Door | None = None) -> None:
        self.service, self.door = service, door or Door()
        self.metrics, self.failed = Metrics(service), None
        self.keys = self.door.keys
        self.routes = routes(self)
        self._table = Table(self.routes)
        self._decoders = {route: msgspec.json.Decoder(route.body) for route in self.routes if route.body}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begin, headers = time.perf_counter(), dict(scope["headers"])
        request_id = _request_id(headers.get(b"x-request-id"))
        route, parts, there = self._table.find(scope["method"], scope["path"], _raw_path(scope))
        more: list[tuple[bytes, bytes]] = []
        try:
            let_in = self._let_in(route, there, headers)
            body = await self._body(let_in, headers, receive)
            query = query_of(scope["query_string"]) if scope["query_string"] else {}
            reply = await let_in.handle(Call(self.service, request_id, body, parts and unquoted(parts), query))
        except Exception as error:
            reply, more = self._fault(error, request_id, route)
        await _send(send, reply, request_id, more)
        self.metrics.count(route, reply, time.perf_counter() - begin)

    def _let_in(self, route: Route | None, there: bool, headers: dict[bytes, bytes]) -> Route:
        if route is None:
            words = "this method is not for this path" if there else "there is no such path"
            raise RefusedError(405 if there else 404, f"{words}; see /openapi.json")
        if route.scope is None:
            return route
        if self.keys is None:
            check_neighbour(headers)
            return route
        kind, _, secret = headers.get(b"authorization", b"").partition(b" ")
        key: Key | None = self.keys.find(secret.strip()) if kind.lower() == b"bearer" else None
        if key is None:
            sent = kind.lower() == b"bearer" and secret.strip()
            said = "that key is not known, or no more" if sent else "no key was sent"
            raise RefusedError(401, f"{said}; send one that `towers key` printed, as in Authorization: Bearer towers-…")
        if route.scope not in key.scopes:
            raise RefusedError(
                403,
                f"this takes a key with the scope {route.scope}; the scopes of key {key.name!r}: "
                f"{', '.join(sorted(key.scopes))}",
            )
        if not key.may_go(clock()):
            raise RefusedError(429, f"key {key.name!r} may make {key.per_second:g} requests a second; wait a moment")
        return route

    async def _body(self, route: Route, headers: dict[bytes, bytes], receive: Receive) -> Any:  # noqa: ANN401
        """Return the decoded body; one that is too long or too slow is not waited for."""
        if route.body is None:
            return None
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.door.body_bytes:
            raise self._too_long()
        late = asyncio.get_running_loop().call_later(self.door.client_s, _interrupt, asyncio.current_task())
        chunks, size, more = [], 0, True
        try:
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusedError(400, "the connection was closed before the body had come")
                chunks.append(message.get("body", b""))
                size, more = size + len(chunks[-1]), message.get("more_body", False)
                if size > self.door.body_bytes:
                    raise self._too_long()
        except asyncio.CancelledError as error:
            if error.args != (_LATE,):
                raise
            raise RefusedError(408, f"the body did not come within {self.door.client_s:g} s") from error
        finally:
            late.cancel()
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if not body.strip():
            raise RefusedError(400, "the body is empty; expected JSON, such as {}")
        return self._decoded(route, body)

    def _decoded(self, route: Route, body: bytes) -> object:
        try:
            return self._decoders[route].decode(body)
        except msgspec.ValidationError as error:
            raise RefusedError(400, explained(error, route.body, body)) from error
        except msgspec.DecodeError as error:
            raise RefusedError(400, f"the body is no JSON: {error}") from error
        except (UnicodeDecodeError, RecursionError) as error:  # a field's name that is no text, lists in lists in lists
            raise RefusedError(400, f"the body cannot be read: {error}") from error

    def _too_long(self) -> RefusedError:
        return RefusedError(413, f"the body is longer than {self.door.body_bytes} bytes; send less at once")

    def _fault(self, error: Exception, request_id: str, route: Route | None) -> tuple[Reply, list[tuple[bytes, bytes]]]:
        if isinstance(error, RefusedError):
            status = error.status
        else:
            status = next((number for kind, number in _STATUS if isinstance(error, kind)), 500)
        words = str(error)
        if status == 500:
            _log.exception("request failed", extra={"request_id": request_id, "route": route.path if route else ""})
            words = str(error) if isinstance(error, TowersError) else "something went wrong here; the log has more"
        more = {503: [(b"retry-after", b"1")], 429: [(b"retry-after", b"1")], 401: [(b"www-authenticate", b"Bearer")]}
        return Reply(Fault(words, request_id), status), more.get(status, [])

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.service.open()
        except Exception as error:  # told by who started it, as what it is
            self.failed = error
            await send({"type": "lifespan.startup.failed", "message": str(error) or repr(error)})
            return
        # What is open stays: to look through it again and again for garbage would hold up all who ask. So does the
        # garbage of opening, some 25 MB: to look for it now would hold up the start by .2 s.
        gc.freeze()
        gc.enable()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        gc.unfreeze()
        await self.service.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _send(send: Send, reply: Reply, request_id: str, more: list[tuple[bytes, bytes]]) -> None:
    data = reply.body if isinstance(reply.body, bytes) else _encoder.encode(reply.body)
    headers = [
        (b"content-type", reply.kind),
        (b"content-length", str(len(data)).encode()),
        (b"x-request-id", request_id.encode()),
        *_ALWAYS,
        *more,
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


def _raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent, or as it may have been, where a server does not say."""
    return scope.get("raw_path") or quote(scope["path"]).encode()


def _interrupt(task: asyncio.Task[Any] | None) -> None:
    if task is not None:
        task.cancel(_LATE)


def _request_id(given: bytes | None) -> str:
    """Return the id that the caller gave, where it is short and plain, or a new one."""
    if given and len(given) <= 64 and given.isascii() and given.replace(b"-", b"").replace(b"_", b"").isalnum():
        return given.decode()
    return f"{_OURS}{next(_counted):x}"
