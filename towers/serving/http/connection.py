"""A connection whose client is not waited for: it must ask in time and in few bytes, and take what it asked for."""

import asyncio
import re
from collections.abc import Sized
from typing import Any

import msgspec
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from towers.serving.http.app import Door
from towers.serving.http.messages import Fault

_TOGETHER = 100
"""How many requests may wait on a connection, sent before the answer to the one before."""
_NO_UPGRADE = "this service speaks HTTP/1.1 alone; ask without the field Upgrade, in Java by Version.HTTP_1_1"
_UPGRADE = re.compile(rb"\r\n(?=upgrade[ \t]*:)", re.IGNORECASE)
_AT_ONCE = 2**16
"""A client who takes no so many bytes of an answer within the door's time is not waited for."""


class _Flow(FlowControl):
    """Reads on only where no request waits already; uvicorn reads more for each answer, however many wait."""

    def __init__(self, transport: Any, waiting: Sized) -> None:  # noqa: ANN401
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if not self._waiting:
            super().resume_reading()


class Connection(HttpToolsProtocol):
    """Uvicorn's connection, cut where its client dawdles; uvicorn itself waits for ever.

    The client's time runs from the connection's begin, and from each answer, until the head of its next request has
    come; and whenever more waits to be taken by the client than its socket holds. Bodies are watched by the app.

    Args:
        door: What is let in.
        of_uvicorn: What uvicorn makes a connection from.
    """

    def __init__(self, door: Door, **of_uvicorn: Any) -> None:  # noqa: ANN401
        super().__init__(**of_uvicorn)
        self._door = door
        self._timer: asyncio.TimerHandle | None = None
        self._since: float | None = None
        self._untaken = 0
        self._answered: RequestResponseCycle | None = None
        self._in_head, self._begun, self._head_bytes = True, False, 0
        self._last_words: tuple[int, str] | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  uvloop's is not one of asyncio's
        """Begin to wait; where there are too many connections, the one that has been waited for longest goes."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._wait()
        if len(self.connections) > self._door.connections:
            ours = [one for one in self.connections if isinstance(one, Connection)]
            waiting = {one: one._since for one in ours if one._since is not None}
            # Those who came in one turn of the loop came at one time: the newest of them is this one.
            longest = min(waiting, key=lambda one: (waiting[one], one is self))
            longest._go()  # it is lost a moment later; those who come until then are in nobody else's place
            longest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._answered is not None:
            self._answered.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, but no head that does not end, nor what follows a body."""
        if self._last_words is not None:
            return
        self._head_bytes += len(data)
        if not self._begun:
            data = _without_upgrade(data)
        super().data_received(data)
        if self._is_too_long() and not self.transport.is_closing():
            self.send_400_response("")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head, but none that follows a body: a proxy may not have looked at it."""
        if not self._in_head:
            raise ValueError
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """Take some of the body, which the app counts."""
        super().on_body(body)
        self._head_bytes = 0

    def on_message_begin(self) -> None:
        """Remember that a head has begun."""
        super().on_message_begin()
        self._begun = True

    def on_headers_complete(self) -> None:
        """Let the app answer."""
        length = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if self._head_bytes > self._door.head_bytes < length:
            raise ValueError  # which the parser takes for a mistake in what it reads
        if len(self.pipeline) >= _TOGETHER or self.parser.should_upgrade():
            raise ValueError
        self._in_head = False
        if not self.flow.write_paused:
            self._go()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head."""
        super().on_message_complete()
        self._in_head, self._begun, self._head_bytes = True, False, 0

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there or made no sense."""
        if self._last_words is not None and not self.pipeline and not self.transport.is_closing():
            self._tell(*self._last_words)
        if not self.pipeline or self.transport.is_closing():  # which may wait for the client to take the answer
            self._wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for the client to take what it asked for."""
        super().pause_writing()
        self._wait()

    def resume_writing(self) -> None:
        """Go on: it was taken."""
        super().resume_writing()
        self._go()
        if self.cycle is None or self.cycle.response_complete:
            self._wait()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or more of it than is read."""
        if self._is_too_long() and self._in_head:
            self._refuse(431, f"the request's head is longer than {self._door.head_bytes} bytes; send less")
        elif self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._refuse(400, _NO_UPGRADE)
        elif len(self.pipeline) >= _TOGETHER:
            self._refuse(400, f"{_TOGETHER} requests wait on this connection; send the next ones after their answers")
        else:
            self._refuse(400, f"this is no HTTP/1.1: {msg}")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # Uvicorn tells only the last request that came that the connection is lost, not the one that is answered.
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _is_too_long(self) -> bool:
        return self._head_bytes > self._door.head_bytes

    def _wait(self) -> None:
        self._untaken, self._since = self.transport.get_write_buffer_size(), self.loop.time()
        if self._timer is None:  # one that runs is let run, and looks again: a new one for each request would cost more
            self._timer = self.loop.call_later(self._door.client_s, self._look)

    def _go(self) -> None:
        self._since = None

    def _look(self) -> None:
        self._timer = None
        if self._since is None:
            return
        left = self._since + self._door.client_s - self.loop.time()
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
            return
        untaken = self.transport.get_write_buffer_size()
        if untaken and self._untaken - untaken >= _AT_ONCE:
            self._wait()
        elif untaken:
            self.transport.abort()
        elif self._begun and self._in_head:
            self._refuse(408, f"the request's head did not come within {self._door.client_s:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: int, words: str) -> None:
        """Say why no more is read, after the answers to what was read: a client takes answers in turn."""
        if self._in_head and self.cycle is not None and not self.cycle.response_complete:
            self._last_words = (status, words)
            self.flow.pause_reading()
        else:
            self._tell(status, words)

    def _tell(self, status: int, words: str) -> None:
        body = msgspec.json.encode(Fault(words, ""))
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()
        self._wait()


def _without_upgrade(data: bytes) -> bytes:
    """Return what begins with a head, without its wish for another protocol, which a server may pass over.

    The parser would take what follows for that protocol's, the body first; so a head that comes in pieces is refused.
    """
    wish = _UPGRADE.search(data)
    if wish is None or not wish.start() < (end := data.find(b"\r\n\r\n")):
        return data
    return _UPGRADE.sub(b"\r\nx-", data[:end]) + data[end:]
