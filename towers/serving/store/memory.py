"""A store that forgets all when its process ends: for tests and trials."""

from collections.abc import Sequence
from itertools import islice

from msgspec import structs

from towers.serving.store.marks import number_of
from towers.serving.store.store import (
    Answer,
    Change,
    ChangeKind,
    Event,
    Export,
    Health,
    Id,
    Store,
    Watched,
    now_ms,
    refuse_lost,
)
from towers.serving.store.watched import with_more


class MemoryStore(Store):
    """Keeps all in dictionaries; nothing outlives it.

    Args:
        longest: How many positives of a user are kept as history.

    Example:
        >>> import asyncio
        >>> async def watch() -> Watched:
        ...     store = MemoryStore()
        ...     await store.append([Event(event_id="e1", user_id=7, video_id="cat", time_ms=1000)])
        ...     return await store.history(7)
        >>> asyncio.run(watch())
        [('cat', 1000)]
    """

    def __init__(self, longest: int = 1000) -> None:
        super().__init__(longest)
        self._log: dict[int, Event | Answer] = {}
        self._came_ms: dict[int, int] = {}
        self._logged = 0
        self._own: dict[Id | None, dict[tuple[type, str], int]] = {}
        self._histories: dict[Id, Watched] = {}
        self._changes: dict[tuple[bool, Id], Change] = {}
        self._changed = 0

    async def open(self) -> None:
        """Get ready; there is nothing to do."""

    async def close(self) -> None:
        """Let go; there is nothing to do."""

    async def append(self, events: Sequence[Event]) -> list[bool]:
        """Keep events, see Store."""
        return [self._append(event) for event in events]

    def _append(self, event: Event) -> bool:
        new = self._logs(event, event.event_id)
        if new and event.positive:
            history = self._histories.get(event.user_id, [])
            self._histories[event.user_id] = with_more(history, [(event.video_id, event.time_ms)], self.longest)
        return new

    def _logs(self, what: Event | Answer, name: str) -> bool:
        own = self._own.setdefault(what.user_id, {})
        if (type(what), name) in own:
            return False
        self._logged += 1
        own[type(what), name] = self._logged
        self._log[self._logged], self._came_ms[self._logged] = what, now_ms()
        return True

    async def history(self, user_id: Id) -> Watched:
        """Return a user's newest positives, oldest first."""
        return list(self._histories.get(user_id, []))

    async def change(self, changes: Sequence[Change]) -> int:
        """Keep changes, see Store."""
        for change in changes:
            erases = change.kind is ChangeKind.erase
            if erases:
                self._histories.pop(change.id, None)
                for number in self._own.pop(change.id, {}).values():
                    del self._log[number], self._came_ms[number]
            self._changed += 1
            self._changes.pop((erases, change.id), None)
            self._changes[erases, change.id] = structs.replace(change, number=self._changed)
        return self._changed

    async def changes(self, after: int, most: int = 10_000) -> list[Change]:
        """Return changes with numbers above `after` in order, see Store."""
        refuse_lost(after, self._changed)
        return list(islice((change for change in self._changes.values() if change.number > after), most))

    async def answered(self, answers: Sequence[Answer]) -> None:
        """Keep what was shown, see Store."""
        for answer in answers:
            self._logs(answer, answer.request_id)

    async def log(self, after: str = "", most: int = 1000) -> tuple[list[Event | Answer], str]:
        """Return what came after a mark, see Store."""
        mark = number_of(after)
        numbers = list(islice((number for number in self._log if number > mark), most))
        return [self._log[number] for number in numbers], str(numbers[-1]) if numbers else after

    async def forget_before(self, time_ms: int, most: int = 500) -> int:
        """Drop what came before a moment, see Store."""
        old = list(islice((number for number, came_ms in self._came_ms.items() if came_ms < time_ms), most))
        for number in old:
            what = self._log.pop(number)
            del self._came_ms[number]
            own = self._own[what.user_id]
            del own[type(what), what.event_id if isinstance(what, Event) else what.request_id]
            if not own:
                del self._own[what.user_id]
        return len(old)

    async def export(self, user_id: Id) -> Export:
        """Return all that is known of a user, see Store."""
        own = [self._log[number] for number in self._own.get(user_id, {}).values()]
        return Export(
            events=[one for one in own if isinstance(one, Event)],
            history=await self.history(user_id),
            answers=[one for one in own if isinstance(one, Answer)],
        )

    async def health(self) -> Health:
        """Return how it does: always well."""
        return Health()
