"""The store that several machines share: a Redis server or cluster."""

import asyncio
import re
from collections.abc import Sequence
from itertools import chain
from urllib.parse import urlsplit
from zlib import crc32

import msgspec
from msgspec import structs

from towers.serving.store import redis_scripts as scripts
from towers.serving.store.lane import Lane
from towers.serving.store.redis_client import Calls
from towers.serving.store.store import (
    Answer,
    Change,
    ChangeKind,
    Event,
    Export,
    Health,
    Id,
    Store,
    StoreAwayError,
    Watched,
    refuse_lost,
)
from towers.serving.store.watched import pack, unpack_answer, unpack_change, unpack_event
from towers.types import ConfigError, DataError

LAYOUT = 1
"""Version of what lies under the keys; another one is refused."""
EVENT, ANSWER = b"e", b"a"
BEGINNING = (0, 0)
Row = tuple[Id | None, bytes, str, bytes, bytes, int]
"""A user, the kind of what is logged, its id and itself, what it adds to the history, and when."""
Mark = tuple[int, int]
"""Of an entry of a stream: the server's ms, and a number within it."""

_unpack_history = msgspec.msgpack.Decoder(list[tuple[int, Id, int]]).decode


class RedisStore(Store):
    """Keeps all in Redis, of version 6.2 or newer; any number of processes and machines may use it at once.

    Users are spread over parts; all keys of a part lie in one slot of a cluster, so that one script logs an event,
    finds out whether it is new and puts it into the history, at once. Callers who wait at the same time share a call.
    The log of a part is in order; logs are merged by the servers' time. How durable is what is acknowledged, the
    server decides: with `appendonly yes` it survives the server's end, with `appendfsync always` a loss of power, too;
    with the usual `everysec` that may cost a second, and without appendonly, or when a replica takes over that had not
    yet heard, what was acknowledged can be lost.
    What is erased leaves an append-only file when the server next rewrites it (`BGREWRITEAOF`).

    Args:
        url: As redis://user:password@host:6379/0, rediss://… or unix://path; for a cluster any of its nodes.
        longest: How many positives of a user are kept as history.
        prefix: Begins every key, so that several apps can share a server.
        timeout_ms: How long an answer, or a connection, is waited for; a request waits with it.
        parts: Over how many slots users are spread; it cannot be changed later.
        cluster: Whether the url is of a cluster.

    Raises:
        ConfigError: A prefix with a brace, fewer than one part, or, from `open`, another number than there was.
        DataError: From `open`: what is there is of another version.
    """

    def __init__(
        self,
        url: str,
        longest: int = 1000,
        prefix: str = "towers",
        timeout_ms: int = 500,
        parts: int = 16,
        *,
        cluster: bool = False,
    ) -> None:
        super().__init__(longest)
        if set(prefix) & set("{}"):
            raise ConfigError(f"store.prefix is {prefix!r}; braces say where a cluster keeps a key, leave them out")
        if parts < 1:
            raise ConfigError(f"store.parts is {parts}; users need at least 1")
        split = urlsplit(url)
        self._address = f"{split.scheme}://{split.netloc.rpartition('@')[2]}{split.path}"
        self._prefix, self._parts = prefix, parts
        self._changes = [f"{prefix}:{{changes}}:{name}" for name in ("last", "order", "bodies")]
        # A lane has one call under way; all other calls take turns in a cluster.
        self._calls = Calls(url, self._address, timeout_ms / 1000, 2 * parts if cluster else 0)
        lanes = parts if cluster else 1  # only a cluster minds several slots in a call
        self._writes = [Lane[Row](self._append) for _ in range(lanes)]
        self._reads = [Lane[bytes](self._histories) for _ in range(lanes)]

    async def open(self) -> None:
        """See that it is there and made alike, see Store."""
        try:
            await self._see_layout()
        except BaseException:
            await self.close()
            raise

    async def _see_layout(self) -> None:
        key, own = f"{self._prefix}:layout", f"version {LAYOUT}, {self._parts} parts"
        await self._calls.do("SET", key, own, "NX")
        found = (await self._calls.do("GET", key) or b"").decode()
        if found != own:
            error = ConfigError if found.startswith(f"version {LAYOUT},") else DataError
            raise error(f"{self._address} holds {key} of {found}; this is {own}; set parts alike, or another prefix")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._calls.close()

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, see Store."""
        return await self._log([
            (event.user_id, EVENT, event.event_id, pack(event), _watched(event), event.time_ms) for event in events
        ])

    async def answered(self, answers: Sequence[Answer]) -> None:
        """Keep what was shown, see Store."""
        await self._log([
            (answer.user_id, ANSWER, answer.request_id, pack(answer), b"", answer.time_ms) for answer in answers
        ])

    async def _log(self, rows: Sequence[Row]) -> list[bool]:
        """Return for each row whether it was new."""
        of_lane: dict[int, list[int]] = {}
        for n, row in enumerate(rows):
            of_lane.setdefault(self._part_of(row) % len(self._writes), []).append(n)
        asked = (self._writes[lane].ask([rows[n] for n in own]) for lane, own in of_lane.items())
        new = [False] * len(rows)
        for own, found in zip(of_lane.values(), await asyncio.gather(*asked), strict=True):
            for n, is_new in zip(own, found, strict=True):
                new[n] = bool(is_new)
        return new

    async def _append(self, rows: Sequence[Row]) -> list[int]:
        parts = map(self._part_of, rows)
        keys = [(self._key(part, "log"), *self._of(part, row[0])) for part, row in zip(parts, rows, strict=True)]
        values = chain.from_iterable(row[1:] for row in rows)
        return await self._calls.run_now(scripts.APPEND, list(chain.from_iterable(keys)), self.longest, *values)

    async def history(self, user_id: Id) -> Watched:
        """Return a user's newest positives, see Store."""
        part = self._part(user_id)
        (found,) = await self._reads[part % len(self._reads)].ask([self._of(part, user_id)[1]])
        return [(video, time) for _, video, time in _unpack_history(found)]

    async def _histories(self, keys: Sequence[bytes]) -> list[bytes]:
        return await self._calls.run_now(scripts.HISTORIES, keys, self.longest)

    async def change(self, changes: Sequence[Change]) -> int:
        """Keep changes, see Store; users are forgotten before it is said that they are."""
        for change in changes:
            if change.kind is ChangeKind.erase:
                part = self._part(change.id)
                await self._calls.run(scripts.ERASE, [self._key(part, "log"), *self._of(part, change.id)])
        rows = [(b"%d" % (change.kind is ChangeKind.erase) + _name(change.id), pack(change)) for change in changes]
        return await self._calls.run(scripts.CHANGE, self._changes, *chain.from_iterable(rows))

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        """Return changes with numbers above `after` in order, see Store."""
        found = await self._calls.run(scripts.CHANGES, self._changes, after, most)
        if len(found) == 1:
            refuse_lost(after, found[0])
        pairs = zip(found[::2], found[1::2], strict=True)
        return [structs.replace(unpack_change(body), number=number) for number, body in pairs]

    async def log(self, after: str = "", most: int = 1000) -> tuple[list[Event | Answer], str]:
        """Return what came after a mark, see Store; of several users in the order of the servers' time, nearly."""
        marks = self._marks(after)
        began = [f"({ms}-{n}" if (ms, n) != BEGINNING else "-" for ms, n in marks]
        keys = [self._key(part, "log") for part in range(self._parts)]
        found = await asyncio.gather(
            *(self._calls.do("XRANGE", key, begin, "+", "COUNT", most) for key, begin in zip(keys, began, strict=True))
        )
        merged = sorted((_mark(mark), part, fields) for part, own in enumerate(found) for mark, fields in own)[:most]
        for mark, part, _ in merged:
            marks[part] = mark
        entries = [_entry(fields) for _, _, fields in merged]
        return entries, ",".join(f"{ms}-{n}" for ms, n in marks) if merged else after

    async def now_ms(self) -> int:
        """Return the time by the servers' clock, see Store."""
        found = await self._calls.run(scripts.NOW, [self._key(0, "log")])
        return int(found)

    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        """Drop what came before a moment by the servers' time, see Store."""
        dropped = 0
        for part in range(self._parts if time_ms > 0 else 0):
            found = await self._calls.do(
                "XRANGE", self._key(part, "log"), "-", f"({time_ms}-0", "COUNT", most - dropped
            )
            keys, values = [self._key(part, "log")], list[bytes]()
            for place, fields in found:
                what = _entry(fields)
                name = EVENT + what.event_id.encode() if isinstance(what, Event) else ANSWER + what.request_id.encode()
                keys.append(self._of(part, what.user_id)[0])
                values += [place, name]
            if found:
                dropped += await self._calls.run(scripts.FORGET, keys, *values)
            if dropped >= most:
                break
        return dropped

    def _marks(self, text: str) -> list[Mark]:
        if not text:
            return [BEGINNING] * self._parts
        if not re.fullmatch(rf"(\d+-\d+,){{{self._parts - 1}}}\d+-\d+", text, re.ASCII):
            raise DataError(
                f"{text!r} is no mark of this store's log; give what log returned, or an empty one to begin"
            )
        return [_mark(mark) for mark in text.split(",")]

    async def export(self, user_id: Id) -> Export:
        """Return all that is known of a user, see Store."""
        part = self._part(user_id)
        found = await self._calls.run(scripts.EXPORT, [self._key(part, "log"), self._of(part, user_id)[0]])
        own = [_entry(fields) for _, fields in sorted((_mark(mark), fields) for mark, fields in found)]
        return Export(
            events=[one for one in own if isinstance(one, Event)],
            history=await self.history(user_id),
            answers=[one for one in own if isinstance(one, Answer)],
        )

    async def health(self) -> Health:
        """Return how it does: whether it answers."""
        try:
            await self._calls.do("GET", f"{self._prefix}:layout")
        except StoreAwayError as error:
            return Health(away=str(error))
        return Health()

    def _part_of(self, row: Row) -> int:
        return self._part(row[2] if row[0] is None else row[0])  # nobody's are spread, too

    def _part(self, user: Id) -> int:
        return crc32(_name(user)) % self._parts

    def _key(self, part: int, what: str) -> bytes:
        return f"{self._prefix}:{{{part}}}:{what}".encode()

    def _of(self, part: int, user: Id | None) -> tuple[bytes, bytes]:
        """Return the keys of a user: marks and history; without an id those of nobody."""
        name = b"nobody" if user is None else _name(user)
        return self._key(part, "marks:") + name, self._key(part, "history:") + name


def _name(user: Id) -> bytes:
    """Return the end of a user's keys; numbers and texts differ."""
    return b"i%d" % user if isinstance(user, int) else b"s" + user.encode()


def _watched(event: Event) -> bytes:
    return pack(event.video_id) + pack(event.time_ms) if event.positive else b""


def _mark(mark: bytes | str) -> Mark:
    ms, number = (mark.decode() if isinstance(mark, bytes) else mark).split("-")
    return int(ms), int(number)


def _entry(fields: list[bytes] | dict[bytes, bytes]) -> Event | Answer:
    """Return what an entry of a log holds; scripts give pairs one after the other, the client a dictionary."""
    kind, body = fields if isinstance(fields, list) else next(iter(fields.items()))
    return unpack_event(body) if kind == EVENT else unpack_answer(body)
