"""A store that goes on while the one behind it is away."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from towers.serving.store.ending import end_tasks
from towers.serving.store.known import Known, merged
from towers.serving.store.reader import Reader, erased_after
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
)
from towers.serving.store.waiting import Waiting

T = TypeVar("T")
_log = logging.getLogger(__name__)
BATCH = 500
"""How many events and answers are delivered at once."""
REMEMBERED = 1_000_000  # some 30 bytes each
"""How many positives of known histories are kept in memory, of all users together; a user counts as one more."""
PAUSES_S = (0.1, 5.0)
"""How long to wait before asking a store that is away again: at first, and at most."""
_LAST_S, _CHANGES = 5.0, 10_000
"""How long a store that was away is given to take what waits when this is closed; how many changes are read at once."""


class SpooledStore(Store):
    """Keeps what comes while a store is away on this machine's disk, and delivers it when the store answers again.

    Meanwhile:
    - Events and answers are acknowledged once they are durable here. They are delivered in the order in which they
      came, each once, also after a restart of this process; until all are, what comes joins them. Whether an event
      was new is said as far as it is known here.
    - A history is the last one known here, with what waits here; what others did to it in the meantime is missing,
      and of a user who was not asked for of late all but what came here. Here, one video at one moment counts once.
    - Changes are refused, since only the store can number them; so is what only the store knows: changes, log, export.

    An erasure is refused, too, as long as anything waits. What waits of a user whom others erase is not delivered if
    it came before they were erased, whenever it is said to have happened. What was on its way just then is erased once
    more, unless this process ends by force between the two.

    Args:
        store: The one behind.
        path: The file of what waits, on a local disk, of this process alone.
        remembered: How many positives of known histories are kept in memory.
        pauses_s: How long to wait before asking again: at first, and at most.
    """

    def __init__(
        self, store: Store, path: str | Path, remembered: int = REMEMBERED, pauses_s: tuple[float, float] = PAUSES_S
    ) -> None:
        super().__init__(store.longest)
        self._store, self._waiting, self._pauses_s = store, Waiting(Path(path)), pauses_s
        self._known = Known(remembered, store.longest)
        self._opened, self._away, self._n, self._reader = False, "", 0, Reader()
        self._wanted, self._settled = asyncio.Event(), asyncio.Event()
        self._brought, self._since = set[Id | None](), 0

    async def open(self) -> None:
        """Open what waits, and the store if it is there; from now on deliver.

        Raises:
            StoreAwayError: The file cannot be opened.
        """
        self._waiting.open()
        self._n = self._waiting.count()
        try:
            await self._store.open()
            self._opened = True
        except StoreAwayError as error:
            self._away = str(error)
        except BaseException:
            await self._waiting.close()
            raise
        self._turn()
        self._task = asyncio.create_task(self._deliver_for_ever())

    async def close(self) -> None:
        """Deliver what waits if the store is there, and let go; what waits still is delivered when opened again."""
        await end_tasks([self._task])
        self._n = self._waiting.count()  # who was ended may have let go of some without saying so
        if self._n:
            try:
                async with asyncio.timeout(_LAST_S):
                    await self._deliver()
            except Exception as error:
                _log.warning("%d events and answers stay here until this is opened again: %r", self._n, error)
        await self._store.close()
        await self._waiting.close()

    async def settled(self) -> None:
        """Wait until the store is there and nothing waits for it."""
        await self._settled.wait()

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, in the store or here, see Store."""
        if not self._away and not self._n:
            try:
                new = await self._store.append(events)
            except StoreAwayError as error:
                self._lost(error)
            else:
                self._known.add([event for event, is_new in zip(events, new, strict=True) if is_new])
                return new
        return await self._keep(events)

    async def answered(self, answers: Sequence[Answer]) -> None:
        """Keep what was shown, in the store or here, see Store."""
        if not self._away and not self._n:
            try:
                return await self._store.answered(answers)
            except StoreAwayError as error:
                self._lost(error)
        await self._keep(answers)
        return None

    async def _keep(self, entries: Sequence[Event] | Sequence[Answer]) -> list[bool]:
        self._n += len(entries)  # before they are durable: what comes from now on must not overtake them
        new: list[bool] = []
        try:
            new = await self._waiting.keep(entries)
        finally:
            self._n -= len(entries) - sum(new)
            self._turn()
        return new

    async def history(self, user_id: Id) -> Watched:
        """Return a user's newest positives, with what waits here, see Store."""
        if not self._away:
            events, known = self._of(user_id), self._known.mark(user_id)
            try:
                found = await self._store.history(user_id)
            except StoreAwayError as error:
                self._lost(error)
            else:
                if self._known.mark(user_id) is known:  # else more came here while the store was asked
                    self._known.put(user_id, found)
                return merged(found, events, self.longest)
        return merged(self._known.of(user_id), self._of(user_id), self.longest)

    def _of(self, user_id: Id) -> list[Event]:
        return self._waiting.of(user_id)[0] if self._n else []

    async def change(self, changes: Sequence[Change]) -> int:
        """Keep changes in the store, see Store.

        Raises:
            StoreAwayError: It is away, or it is to erase and something waits: what waits may be of that user.
        """
        erased = [change.id for change in changes if change.kind is ChangeKind.erase]
        if erased and self._n:
            raise StoreAwayError(f"{self._n} events and answers wait to be delivered; ask again when they are")
        number = await self._through(lambda: self._store.change(changes))
        for user in erased:
            self._known.forget(user)
        return number

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        """Return changes with numbers above `after` in order, see Store; who was erased is forgotten here, too."""
        changes = await self._through(lambda: self._store.changes(after, most))
        for change in changes:
            if change.kind is ChangeKind.erase and not self._reader.knows(change):
                self._known.forget(change.id)
                if self._n:
                    # The count is read after the wait, not before: what comes meanwhile changes it.
                    gone = await self._waiting.forget(change.id, change.time_ms)
                    self._n -= gone
        self._reader.saw(after, changes)
        return changes

    async def log(self, after: str = "", most: int = 1000) -> tuple[list[Event | Answer], str]:
        """Return what came after a mark, without what waits, see Store."""
        return await self._through(lambda: self._store.log(after, most))

    async def now_ms(self) -> int:
        """Return the time by the store's clock, see Store."""
        return await self._through(self._store.now_ms)

    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        """Drop what came to the store before a moment, see Store; what waits has not come to it yet."""
        return await self._through(lambda: self._store.forget_before(time_ms, most))

    async def export(self, user_id: Id) -> Export:
        """Return all that is known of a user, with what waits, see Store."""
        events, answers = self._waiting.of(user_id)
        known = await self._through(lambda: self._store.export(user_id))
        delivered = {event.event_id for event in known.events}
        shown = {answer.request_id for answer in known.answers}
        return Export(
            events=[*known.events, *(event for event in events if event.event_id not in delivered)],
            history=merged(known.history, events, self.longest),
            answers=[*known.answers, *(answer for answer in answers if answer.request_id not in shown)],
        )

    @property
    def away(self) -> str:
        """Why histories are of before, as far as is known; empty where they are of now."""
        return self._away

    async def health(self) -> Health:
        """Return whether the store is away, and how many events and answers wait here."""
        if not self.away and (away := (await self._store.health()).away):
            self._lost(away)
        return Health(away=self.away, waiting=self._n)

    async def _through(self, ask: Callable[[], Awaitable[T]]) -> T:
        if self._away:
            raise StoreAwayError(self._away)
        try:
            return await ask()
        except StoreAwayError as error:
            self._lost(error)
            raise

    def _lost(self, why: object) -> None:
        self._away = str(why)
        self._turn()

    def _turn(self) -> None:
        """Tell those who wait for it whether there is something to do."""
        todo = bool(self._away or self._n)
        (self._wanted if todo else self._settled).set()
        (self._settled if todo else self._wanted).clear()

    async def _deliver_for_ever(self) -> None:
        first, most = self._pauses_s
        pause = first
        while True:
            await self._wanted.wait()
            try:
                delivered = await self._deliver()
            except Exception as error:  # health says it, and what waits is not lost
                self._lost(error)
                delivered = 0
            pause = first if delivered else min(2 * pause, most)
            if self._away:
                await asyncio.sleep(pause)

    async def _forget_erased(self) -> None:
        """Forget what waits of those who were erased meanwhile."""
        while changes := await self._reader.read(self, _CHANGES):
            self._reader.done(changes[-1])
            await asyncio.sleep(0)

    async def _erase_again(self) -> bool:
        """Erase once more those of what was brought who were erased since it was read; return whether anybody was."""
        if not self._brought:
            return False
        erased = await erased_after(self._store, self._since, _CHANGES)
        if again := [change for change in erased or () if change.id in self._brought]:
            await self._store.change(again)
        self._brought.clear()
        return erased is None or len(erased) > 0

    async def _deliver_some(self) -> int:
        """Bring what waits longest to the store, until somebody is erased meanwhile; return how much."""
        await self._erase_again()  # of what an earlier try may have brought, though it failed
        await self._forget_erased()
        self._since, done = self._reader.number, 0
        for events, answers, last in self._waiting.first(BATCH):
            self._brought |= {event.user_id for event in events} | {answer.user_id for answer in answers}
            if events:
                await self._store.append(events)
                self._known.add(events)
            if answers:
                await self._store.answered(answers)
            done = last
            if await self._erase_again():
                break  # what is left in hand may be of them, and is read again
        return await self._waiting.delivered(done)

    async def _deliver(self) -> int:
        """Bring what waits to the store; return how much."""
        if not self._opened:
            await self._store.open()
            self._opened = True
        if away := (await self._store.health()).away:
            raise StoreAwayError(away)
        self._away, delivered = "", 0
        while self._n:
            n = await self._deliver_some()
            self._n -= n
            delivered += n
        await self._waiting.scrub()
        self._turn()
        return delivered
