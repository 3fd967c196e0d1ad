"""What is served, without HTTP: candidates from a bundle and from what happened since, and what happens taken in."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from towers.serving.arrivals import Features, check_features
from towers.serving.asking import Ask
from towers.serving.candidates import Candidates
from towers.serving.following import follow_changes, follow_pointer, measure_recall
from towers.serving.queue import BusyError, Queue
from towers.serving.remembering import Remembering
from towers.serving.store import Change, ChangeKind, Event, Export, Id, Store, StoreAwayError, now_ms
from towers.serving.store.ending import end_tasks
from towers.serving.together import Shown, Wish, answer_together
from towers.serving.version import Version
from towers.serving.versions import Versions
from towers.types import ConfigError, DataError

_log = logging.getLogger(__name__)
_ALL = Shown()
_DAY_MS, _MOST_DAYS, _FORGET_EVERY_S, _GAIN_MS = 86_400_000, 36_500, 0.05, 3_600_000


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a service takes on.

    Attributes:
        queue: How many requests may wait; who comes then is refused.
        deadline_ms: Who has waited for longer is refused.
        remember: Share of answers that are kept in the store, to be joined with what comes back.
        watch_s: How often the bundle's pointer is looked at.
        measure_s: How often the index's recall is measured, where anything has changed.
        keep_days: How long the store keeps events and answers, from when they came; 0 for ever. Histories stay.
        forget_s: How often it is looked for what is older.
    """

    queue: int = 512
    deadline_ms: float = 200.0
    remember: float = 0.1
    watch_s: float = 1.0
    measure_s: float = 300.0
    keep_days: float = 30.0
    forget_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 0 <= self.remember <= 1:
            raise ConfigError(f"remember is {self.remember}; give a share of answers, 0 to 1")
        for name in ("watch_s", "measure_s", "forget_s"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; give seconds above 0")
        if not 0 <= self.keep_days <= _MOST_DAYS:
            raise ConfigError(f"keep_days is {self.keep_days}; give days up to {_MOST_DAYS}, or 0 to keep all for ever")


class Service:
    """Answers from the current version of a bundle, from histories, and from what came and went since.

    Args:
        bundle: Folder of the bundle.
        store: Keeps what happens; opened and closed with the service.
        state: Folder for indexes; see Versions.
        limits: What it takes on.

    Attributes:
        versions: What is served.
        store: What is kept.
        queue: Who waits.
        remembering: What was answered, on its way to the store.
    """

    def __init__(self, bundle: Path, store: Store, state: Path, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.store, self.versions = store, Versions(bundle, store, state)
        self.queue: Queue[Wish, Candidates] = Queue(self._together, self._limits.queue, self._limits.deadline_ms)
        self.remembering = Remembering(store, self._limits.remember)
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Open the store and the bundle, and follow both from then on.

        Raises:
            StoreAwayError: The store cannot be reached.
            TowersError: The bundle cannot be served.
        """
        await self.store.open()
        try:
            await self.versions.open()
        except BaseException:
            await self.store.close()
            raise
        self._tasks = [
            asyncio.create_task(follow_changes(self.versions)),
            asyncio.create_task(follow_pointer(self.versions, self._limits.watch_s)),
            asyncio.create_task(self.remembering.keep_for_ever()),
            asyncio.create_task(measure_recall(self.versions, self._limits.measure_s)),
        ]
        if self._limits.keep_days:
            self._tasks.append(asyncio.create_task(self._forget()))

    async def close(self) -> None:
        """Finish what was begun, keep what was answered, and let go of all."""
        await end_tasks(self._tasks)
        await self.remembering.keep()
        try:
            await self.versions.close()
        finally:
            await self.store.close()

    @property
    def version(self) -> Version:
        """What answers now."""
        return self.versions.current

    async def candidates(self, ask: Ask, request_id: str | None, shown: Shown = _ALL) -> tuple[Candidates, bool]:
        """Return the best videos for a user as they are by now, and whether their history could be asked for.

        Without a request's id the answer is not remembered: nobody is shown it.

        Raises:
            ConfigError: A feature that there is not, k below 1.
            DataError: Ids of another sort than the bundle's.
            BusyError: Too much is asked at once.
        """
        since, known = await self._since(ask.user_id)
        forgotten = self._is_forgotten(ask.user_id)
        if since and ask.history is not None:
            ask = replace(ask, exclude=[*ask.exclude, *(video for video, _ in since)], forgotten=forgotten)
        elif since or forgotten:
            ask = replace(ask, since=since if ask.history is None else (), forgotten=forgotten)
        if (shown.only or shown.without) and not await self.version.prepared(self.queue.deadline_s):
            raise BusyError("features are being sorted, which a start begins with; ask again a moment later")
        found = await self.queue.answer(Wish(ask, shown))
        if request_id is not None:
            self.remembering.remember(ask, request_id, found)
        return found, known

    async def record(self, events: Sequence[Event]) -> list[bool]:
        """Keep events; they count in the next answer. Return for each whether it was new.

        Raises:
            DataError: An id of another sort than the bundle's, or a time in seconds or ahead; nothing was kept.
            StoreAwayError: None was acknowledged.
        """
        for event in events:
            try:
                self._check_id("user", event.user_id)
                self._check_id("video", event.video_id)
                self.version.check_time(event.time_ms)
            except DataError as error:
                raise DataError(f"event of user {event.user_id!r} and video {event.video_id!r}: {error}") from None
        return await self.store.append(events)

    async def put_videos(self, videos: Sequence[tuple[Id, Features]]) -> None:
        """Show videos from the next answer on, also after a crash.

        Raises:
            DataError: A feature that there is not, of another kind, or an id of another sort.
            StoreAwayError: Nothing was acknowledged.
        """
        for video, features in videos:
            self._check_id("video", video)
            check_features(self.version.bundle, features)
        await self.versions.try_out(videos)  # what is kept is taken in by all who share the store, for ever
        await self._change([
            Change(kind=ChangeKind.put, id=video, time_ms=now_ms(), features=dict(said)) for video, said in videos
        ])

    async def remove_videos(self, videos: Sequence[Id]) -> None:
        """Show videos no more, from the next answer on, also after a crash and in bundles to come.

        Raises:
            DataError: An id of another sort.
            StoreAwayError: Nothing was acknowledged.
        """
        for video in videos:
            self._check_id("video", video)
        await self._change([Change(kind=ChangeKind.remove, id=video, time_ms=now_ms()) for video in videos])

    async def similar(self, video: Id, k: int) -> Candidates:
        """Return the videos that are most like one.

        Raises:
            UnknownIdError: It is not known, or was removed.
        """
        return self.version.retriever.similar(video, k)

    def embed_users(self, users: Sequence[Id]) -> Float32[np.ndarray, "n *i d"]:
        """Return the users' vectors as the bundle knows them; who is forgotten is like anybody new, [n, d].

        Raises:
            DataError: Ids of another sort than the bundle's.
        """
        retriever = self.version.retriever
        vectors = retriever.embed_users(users)
        for place, user in enumerate(users):
            if self._is_forgotten(user):
                vectors[place] = retriever.embed_nobody()
        return vectors

    async def export(self, user: Id) -> Export:
        """Return all that was kept of a user since the bundle, and what the bundle knows of them, in their history.

        Raises:
            StoreAwayError: The store cannot be reached.
        """
        kept = await self.store.export(user)
        return Export(events=kept.events, history=[*self.known(user), *kept.history], answers=kept.answers)

    def known(self, user: Id) -> list[tuple[Id, int]]:
        """Return what the bundle knows that a user watched, and when, oldest first; nothing of who is forgotten."""
        bundle = self.version.bundle
        if isinstance(user, str) != bundle.users.is_string or self._is_forgotten(user):
            return []
        row = int(bundle.users.rows([user])[0])
        begin, end = bundle.positives.offsets[row : row + 2]
        rows = bundle.positives.video_row[begin:end].astype("int64")
        ids = bundle.videos.ids_of_known(rows)
        listed = ids if isinstance(ids, list) else ids.tolist()
        return list(zip(listed, bundle.positives.time_ms[begin:end].tolist(), strict=True))

    async def erase(self, user: Id) -> None:
        """Forget a user, here and in what all who share the store know; bundles of before are not asked about them.

        Raises:
            StoreAwayError: Nothing was acknowledged.
        """
        self._check_id("user", user)
        await self.remembering.keep()
        # After what the bundle knows, whatever the clock says: or it would be read again.
        time_ms = max(now_ms(), self.version.knows_until_ms)
        await self._change([Change(kind=ChangeKind.erase, id=user, time_ms=time_ms)])

    async def _change(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        await self.store.change(changes)
        await self.versions.catch_up()

    async def _since(self, user: object) -> tuple[list[tuple[Id, int]], bool]:
        if not isinstance(user, int | str):
            return [], True
        try:
            return await self.store.history(user), not self.store.away
        except StoreAwayError:
            return [], False

    def _is_forgotten(self, user: object) -> bool:
        erased = self.versions.erased
        return bool(erased) and isinstance(user, int | str) and erased.get(user, -1) >= self.version.knows_until_ms

    def _together(self, wishes: Sequence[Wish]) -> list[Candidates | Exception]:
        return answer_together(self.version, wishes)

    async def _forget(self) -> None:
        """Have the store drop what is old, a little at a time: what else is asked of it comes between."""
        days, clock = self._limits.keep_days, _SteadyClock()
        while True:
            try:
                moment, dropped = clock.bounded(await self.store.now_ms()) - round(days * _DAY_MS), 0
                while some := await self.store.forget_before(moment):
                    dropped += some
                    await asyncio.sleep(_FORGET_EVERY_S)
                _log.info("dropped %d events and answers that came more than %g days ago", dropped, days)
            except Exception as error:  # or nothing was dropped from then on
                _log.warning("what is older than %g days stays for now: %s", days, error)
            await asyncio.sleep(self._limits.forget_s)

    def _check_id(self, kind: str, given: Id) -> None:
        bundle = self.version.bundle
        texts = (bundle.users if kind == "user" else bundle.videos).is_string
        if isinstance(given, str) != texts:
            raise DataError(f"{kind} {given!r} is not {'a text' if texts else 'a whole number'} as this bundle's are")


class _SteadyClock:
    """A clock that is set forward does not make all that is kept old: it may gain an hour on the time that passes."""

    def __init__(self) -> None:
        self._began: tuple[int, float] | None = None

    def bounded(self, now: int) -> int:
        """Return what a clock says, ms, but not much more than what it said at first and what has passed since."""
        if self._began is None:
            self._began = now, time.monotonic()
        first, since = self._began
        return min(now, first + round(1000 * (time.monotonic() - since)) + _GAIN_MS)
