"""The load: people who ask and tell, videos that come and go, and what is made of the answers."""

import asyncio
import random
import time
from array import array
from collections import Counter, deque
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any
from urllib.parse import quote

import msgspec

from benchmarks.soak.asking import Connection
from benchmarks.soak.parts import Service
from benchmarks.soak.referee import Seen, judge, seen_of
from benchmarks.soak.world import Id, Person, World
from towers.data.vocabulary import UNKNOWN_ROW

LATE_MS = 60_000
"""How late an event may come."""
UNJUDGED, TOGETHER = 256, 16
"""How many answers may wait to be judged, and how many are judged at once."""
GIVE_UP_S = 300.0
"""For how long a change is asked for again before it counts as refused."""


class Load:
    """Asks, tells, and keeps account.

    Args:
        world: The account.
        service: Who is asked.
        key: To ask with.
        share: Of all answers, how many are judged.
        connections: How many ask at once, each for people of its own, one request after the other.

    Attributes:
        rate: Requests a second in all; infinite for as many as there can be.
        counts: What happened, by its name.
        wrong: Answers that were, and requests that failed without a reason.
        lost: What was acknowledged and is not there.
        recalls: Of each answer that was judged whole.
        took: How long each answer took, in seconds.
        versions: Names of what was published.
        everybody: Who asks.
        tasks: What is at work.
    """

    def __init__(self, world: World, service: Service, key: str, share: float, connections: int) -> None:
        self.world, self.service, self.key = world, service, key
        self.rate = float("inf")
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lost: list[str] = []
        self.recalls, self.took = array("d"), array("d")
        self.versions = [world.bundle.version]
        self._newest, self._over, self._share = world.bundle.version, False, share
        self.everybody, self._nobody = world.people(), Person(-1, UNKNOWN_ROW)
        self._connections, self._numbers = min(connections, len(self.everybody)), count()
        self._told: set[Person] = set()
        self._changed: set[Id] = set()
        self._unjudged: deque[Seen] = deque()
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, changes_per_second: float) -> None:
        """Begin to ask."""
        work: list[Coroutine[Any, Any, None]] = [self._work(number) for number in range(self._connections)]
        work += [self._change(changes_per_second), self._judge()]
        self.tasks = [asyncio.create_task(each) for each in work]

    async def end(self) -> None:
        """Finish what is under way; raises what a task raised."""
        self._over = True
        await asyncio.gather(*self.tasks)

    async def _work(self, number: int) -> None:
        chance, connection = random.Random(number), Connection(self.service.port, self.key)  # noqa: S311  no secret
        own, due = self.everybody[number :: self._connections], time.perf_counter()
        while not self._over:
            due = max(due + self._connections / self.rate, time.perf_counter() - 1)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            person = chance.choice(own)
            await (
                self._tell(connection, person, chance)
                if chance.random() < 0.1
                else self._ask(connection, person, chance)
            )
        connection.close()

    async def _ask(self, connection: Connection, person: Person, chance: random.Random) -> None:
        person = self._nobody if chance.random() < 0.05 else person
        body, chosen = self._body(person, chance), chance.random() < self._share
        unsure, begun, newest = set(self.world.doubtful), len(self.world.begun), self._newest
        life, began = self._life(), time.perf_counter()
        try:
            status, said = await connection.ask("POST", "/v1/candidates", body)
        except OSError as error:
            self._unanswered(life, error)
            await asyncio.sleep(0.05)
            return
        self.counts["reads"] += 1
        self.took.append(time.perf_counter() - began)
        if status == 503:
            self.counts["busy"] += 1
        elif status != 200:
            self.wrong.append(f"{status} {said[:300]!r}; asked: {body}")
        elif chosen:
            reply = msgspec.json.decode(said)
            if not newest <= reply["bundle_version"] <= max(self.versions):
                self.wrong.append(f"an answer of {reply['bundle_version']} after one of {newest}")
            if reply["path"] == "popular":
                self.wrong.append(f"the towers gave no answer; asked: {body}")
            self._newest = max(self._newest, reply["bundle_version"])
            self._note(person, body, reply, unsure | set(self.world.begun[begun:]))

    def _body(self, person: Person, chance: random.Random) -> dict[str, Any]:
        """Return a request: a tenth with a filter, a tenth with its contrary, a tenth with videos to leave out."""
        body: dict[str, Any] = {"user_id": None if person is self._nobody else person.id, "k": chance.choice((100, 10))}
        kind = chance.random()
        if kind < 0.2 and self.world.filters:
            feature, value = chance.choice(self.world.filters)
            body["only" if kind < 0.1 else "without"] = {feature: value}
        elif kind < 0.3:
            body["exclude"] = [video for video in self.world.lately[:50] if video in self.world.row_of]
        if chance.random() < 0.3:
            body["time_ms"] = _now_ms()
        return body

    def _note(self, person: Person, body: dict[str, Any], reply: dict[str, Any], unsure: set[Id]) -> None:
        """Keep an answer, and what is true now, to be judged."""
        if not reply["history_known"]:
            self.counts["history not known"] += 1
        if len(self._unjudged) >= UNJUDGED:
            self.counts["not judged"] += 1
            return
        self._unjudged.append(seen_of(self.world, person, body, reply, unsure))
        if "only" not in body and reply["video_ids"]:
            self.world.lately = reply["video_ids"]

    async def _judge(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "judge") as pool:
            while not self._over or self._unjudged:
                batch = [self._unjudged.popleft() for _ in range(min(TOGETHER, len(self._unjudged)))]
                if not batch:
                    await asyncio.sleep(0.01)
                    continue
                for verdict in await loop.run_in_executor(pool, judge, self.world, batch):
                    self.counts["judged"] += 1
                    self.wrong += verdict.faults
                    if verdict.recall is not None:
                        self.recalls.append(verdict.recall)

    async def _tell(self, connection: Connection, person: Person, chance: random.Random) -> None:
        late = chance.randrange(LATE_MS) if chance.random() < 0.1 else 0
        event_id, positive = f"soak-{next(self._numbers)}", chance.random() < 0.8
        video, time_ms = self.world.some_shown(chance), _now_ms() - late
        event = {
            "event_id": event_id,
            "user_id": person.id,
            "video_id": video,
            "time_ms": time_ms,
            "positive": positive,
        }
        reply, tries = await self.until_done(connection, "POST", "/v1/events", [event])
        if reply is not None:
            if tries == 1 and reply["new"] != 1:
                self.wrong.append(f"{event} is said to have come before")
            person.met(event_id, video, time_ms, positive=positive)
            self._told.add(person)
            self.counts["events"] += 1

    async def _change(self, per_second: float) -> None:
        chance, connection = random.Random("changes"), Connection(self.service.port, self.key)  # noqa: S311
        for turn in count():
            if self._over:
                break
            await asyncio.sleep(1 / per_second)
            await (self._remove if turn % 2 else self._put)(connection, chance)
        connection.close()

    async def _put(self, connection: Connection, chance: random.Random) -> None:
        gone = self.world.some_gone(chance) if chance.random() < 0.4 else None
        video = self.world.new_id() if gone is None else gone
        features = self.world.features(chance)
        self.world.begin(video)
        told = [{"video_id": video, "features": features}]
        if (await self.until_done(connection, "PUT", "/v1/videos", told))[1]:
            self.world.put(video, features)
            self._changed.add(video)
            self.counts["videos put"] += 1

    async def _remove(self, connection: Connection, chance: random.Random) -> None:
        video = self.world.some_shown(chance)
        self.world.begin(video)
        if (await self.until_done(connection, "DELETE", f"/v1/videos/{quote(str(video), safe='')}"))[1]:
            self.world.removed(video)
            self._changed.add(video)
            self.counts["videos removed"] += 1

    async def until_done(self, connection: Connection, method: str, path: str, body: object = None) -> tuple[Any, int]:
        """Ask until it is acknowledged; return what was answered and the number of tries, 0 where it was refused."""
        began = time.perf_counter()
        for tries in count(1):
            life = self._life()
            try:
                status, said = await connection.ask(method, path, body)
            except OSError as error:
                self._unanswered(life, error)
                status, said = 503, str(error)
            if status in {200, 204}:
                return said, tries
            if status != 503 or time.perf_counter() - began > GIVE_UP_S:
                self.wrong.append(f"{method} {path} {body}: {status} {said}")
                return None, 0
            self.counts["asked again"] += 1
            await asyncio.sleep(0.1)
        raise AssertionError

    def touched(self) -> tuple[set[Person], set[Id]]:
        """Return who told something and which videos were changed since this was asked last."""
        people, videos = self._told, self._changed
        self._told, self._changed = set(), set()
        return people, videos

    def _life(self) -> int:
        """Return which life of the service is asked; 0 where it is known not to answer."""
        return self.service.lives if self.service.up else 0

    def _unanswered(self, life: int, error: OSError) -> None:
        if life and life == self._life():
            self.wrong.append(f"no answer, though nobody had killed the service: {error!r}")
        self.counts["unanswered"] += 1


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
