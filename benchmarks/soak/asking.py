"""Asks over HTTP with as little work as Python allows: what asks shares two cores with what answers."""

import asyncio
from typing import Any

import httptools
import msgspec

LONGEST_S = 30.0
"""How long an answer is waited for."""
encode = msgspec.json.encode


class _Link(asyncio.Protocol):
    """One TCP connection, with at most one request under way."""

    def __init__(self) -> None:
        self._parser, self._chunks = httptools.HttpResponseParser(self), list[bytes]()
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    def on_message_complete(self) -> None:
        body, self._chunks = b"".join(self._chunks), []
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result((self._parser.get_status_code(), body))

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionResetError(f"the connection was closed: {error}"))

    def send(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._waiting


class Connection:
    """Makes one request after the other, over a new connection where the old one was lost.

    Args:
        port: Of this machine.
        key: That `towers key` made.
    """

    def __init__(self, port: int, key: str) -> None:
        self._port = port
        self._head = f"host: soak\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
        self._link: _Link | None = None

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Return HTTP's status and what was answered; candidates as bytes, since few of them are looked at.

        Raises:
            OSError: There was no answer, or none in time.
        """
        sent = b"" if body is None else encode(body)
        head = f"{method} {path} HTTP/1.1\r\n{self._head}content-length: {len(sent)}\r\n\r\n"
        try:
            async with asyncio.timeout(LONGEST_S):
                if self._link is None or self._link.lost:
                    loop = asyncio.get_running_loop()
                    _, self._link = await loop.create_connection(_Link, "127.0.0.1", self._port)
                status, said = await self._link.send(head.encode() + sent)
        except OSError:
            self.close()
            raise
        return status, said if path == "/v1/candidates" else msgspec.json.decode(said or b"null")

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.transport.abort()
            self._link = None
