"""Which version of a bundle is served: adopted between two requests, or refused with a reason."""

import asyncio
import logging
import os
import secrets
import shutil
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

from towers.publishing import Bundle, current_name, point_to, version_names
from towers.serving.arrivals import Features, arrived_vectors
from towers.serving.beginning import first_that_serves
from towers.serving.folder import INDEXES, locked
from towers.serving.store import Change, ChangeKind, Id, Store, StoreAwayError
from towers.serving.version import Refused, Version
from towers.types import BundleError, TowersError, UnwritableError

COMPARED = "compared.json"
_log = logging.getLogger(__name__)
_PUT_AT_ONCE = 4096
Got = TypeVar("Got")


class Versions:
    """Serves a bundle's current version, with every change that the store has.

    Args:
        root: Folder of the bundle.
        store: Whose changes all versions know.
        state: Folder for indexes, a new one or of an earlier service; best on the disk of the bundle, whose files are
            linked there.

    Attributes:
        current: What answers now.
        refused: The last version that was not adopted, until another one is.
        erased: Who was forgotten, and when, ms UTC.
        adopted: How many versions were adopted.
        recall: Share of the true best 100 that the index finds, as last measured.
        lag_s: How long the last change took from being asked for to being shown; 0 where none came since the start.
        caught_up: When all changes of the store were known last, Unix time.
    """

    current: Version

    def __init__(self, root: Path, store: Store, state: Path) -> None:
        self._root, self._store, self._state = root, store, state
        self.refused: Refused | None = None
        self.recall = 1.0
        self.erased: dict[Id, int] = {}
        self.adopted, self.lag_s, self.caught_up = 0, 0.0, 0.0
        self._changing, self._adopting = asyncio.Lock(), asyncio.Lock()
        self._opener, self._changer = ThreadPoolExecutor(1, "towers-open"), ThreadPoolExecutor(1, "towers-change")
        self._lock: IO[bytes] | None = None
        self._stuck: Version | None = None
        self._measured: tuple[weakref.ref[Version], int] | None = None

    async def open(self) -> None:
        """Open the current version, or the newest before it that can be served, and make it know all changes.

        Raises:
            BundleError: None can be opened.
            ConfigError: Its index cannot live, or another process uses the state's folder.
            StoreAwayError: The store cannot be reached.
        """
        self._lock = locked(self._state)
        try:
            wanted = current_name(self._root)
            before = [name for name in reversed(version_names(self._root)) if name < wanted]
            self.current, self.refused = await first_that_serves([wanted, *before], self._caught_up)
            self.caught_up = time.time()
        except BaseException:
            self._lock.close()
            raise
        self.adopted, self.lag_s = 1, 0.0
        self.recall = self.current.catalogue.index.recall_built

    async def close(self) -> None:
        """Close what is open."""
        async with self._changing:
            await self._put_away(self.current)
        for pool in (self._opener, self._changer):
            pool.shutdown()
        if self._lock is not None:
            self._lock.close()

    async def catch_up(self) -> None:
        """Make the served version know all changes that the store has by now.

        Raises:
            StoreAwayError: The store cannot be reached, or the index cannot be written; see `following`.
        """
        async with self._changing:
            try:
                newest_ms = await self._catch_up(self.current)
            except UnwritableError as error:
                self._stuck = self.current
                raise StoreAwayError(
                    f"{error}: the service does so by itself, and then shows what it was told; make room on its disk"
                ) from error
            self.caught_up = time.time()
            if newest_ms is not None:
                self.lag_s = max(0.0, self.caught_up - newest_ms / 1000)

    async def adopt(self, name: str | None = None) -> None:
        """Serve the bundle's current version, or make another one current and serve it.

        Raises:
            BundleError: It is not there, or not as it was published; the old one goes on.
            TowersError: It cannot be served; the old one goes on.
        """
        async with self._adopting:
            pointed = current_name(self._root)
            wanted = name or pointed
            if wanted not in version_names(self._root):
                raise BundleError(f"there is no version {wanted!r}; there are: {', '.join(version_names(self._root))}")
            if wanted != pointed and not os.access(self._root, os.W_OK):
                raise BundleError(
                    f"{self._root} cannot be written, so {wanted} cannot be made current; give the service's user the "
                    "right to write there"
                )
            if wanted != self.current.name:
                await self._replace(wanted, current=wanted != pointed)
            elif wanted != pointed:
                point_to(self._root, wanted)
                self.refused = None

    async def roll_back(self) -> str:
        """Serve the version before the one that is served, and make it current; return its name.

        Raises:
            BundleError: There is none, or it cannot be opened.
        """
        before = [name for name in version_names(self._root) if name < self.current.name]
        if not before:
            raise BundleError(
                f"there is no version before {self.current.name}, the oldest that is kept; with a larger keep= "
                "publishing leaves more of them"
            )
        await self.adopt(before[-1])
        return before[-1]

    @property
    def pointed(self) -> str:
        """The name of the bundle's current version."""
        return current_name(self._root)

    @property
    def stuck(self) -> bool:
        """Whether the index of what is served cannot be written, until it is opened again."""
        return self._stuck is self.current

    async def reopen(self) -> None:
        """Open what is served again, and serve that.

        Raises:
            TowersError: It cannot be served; the old one goes on.
        """
        async with self._adopting:
            await self._replace(self.current.name)

    async def try_out(self, videos: Sequence[tuple[Id, Features]]) -> None:
        """Make the vectors of videos, and show nothing.

        Raises:
            TowersError: A vector is not finite.
        """
        rows = self.current.catalogue.lookup.rows([video for video, _ in videos])
        said = [features for _, features in videos]
        await self._in(self._changer, partial(arrived_vectors, self.current.bundle, rows, said))

    async def measure(self) -> None:
        """Measure the index's recall where anything has changed, which has lists made anew where it has fallen.

        It takes an exact search for each of the last 256 users, in a thread beside the requests.
        """
        now = weakref.ref(self.current), self.current.applied  # weakly: a version that is left is to be gone
        if now != self._measured:
            found = await self._in(self._opener, self.current.catalogue.index.health)
            if now[0]() is self.current:
                self.recall, self._measured = found.recall, now

    async def _replace(self, name: str, *, current: bool = False) -> None:
        """Serve a version in place of the one that is served, and make it the bundle's current one if told so."""
        version: Version | None = None
        try:
            version = await self._opened(name)
            await self._catch_up(version)  # without holding up changes of the one that is served
            await version.prepared()
            async with self._changing:
                await self._catch_up(version)
                if current:  # before it is served: whoever is ended now begins with it, and a full disk changes nothing
                    point_to(self._root, name)
                old, self.current, self._stuck = self.current, version, None
                self.recall = version.catalogue.index.recall_built
        except BaseException as error:
            if isinstance(error, Exception):  # else it was called off, by a service that stops
                self.refused = Refused(name, str(error) or repr(error))
                if name != self.current.name:
                    _log.error("refused version %s, %s goes on: %s", name, self.current.name, self.refused.why)
            if version is not None and version is not self.current:
                await self._put_away(version)
            raise
        self.refused, self.adopted = None, self.adopted + 1
        _log.info("adopted version %s in place of %s", name, old.name)
        await self._put_away(old)

    async def _put_away(self, version: Version) -> None:
        def closed() -> None:
            try:
                version.close()
            except Exception as error:  # whatever it is, it must not hide what came before
                _log.warning("version %s was not closed as it should be: %r", version.name, error)

        # Whoever waits may be told to stop, before it has begun even; it is closed nevertheless.
        await asyncio.shield(self._in(self._opener, closed))

    async def _opened(self, name: str) -> Version:
        def opened() -> Version:
            # Once somebody is served, one core is enough to take from those who ask.
            threads = 1 if self.adopted else len(os.sched_getaffinity(0))
            bundle = Bundle.open(self._root / "versions" / name, threads=threads, compared=self._state / COMPARED)
            folder = self._state / INDEXES / f"{name}-{secrets.token_hex(4)}"
            with ExitStack() as undo:
                undo.callback(shutil.rmtree, folder, ignore_errors=True)
                version = undo.enter_context(Version(bundle, folder))
                version.warm()
                undo.pop_all()
            return version

        opening = self._opener.submit(opened)
        try:
            version = await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_closed_unused)
            raise
        version.preparing = self._opener.submit(version.prepare)
        return version

    async def _caught_up(self, name: str) -> Version:
        """Return a version that knows all changes."""
        version = await self._opened(name)
        try:
            await self._catch_up(version)
        except BaseException:
            await self._put_away(version)
            raise
        return version

    async def _catch_up(self, version: Version) -> int | None:
        """Return when the newest of the changes that it did not know was asked for, ms UTC; None where it knew all."""
        newest_ms = None
        while changes := await version.reader.read(self._store, _PUT_AT_ONCE):
            last = {(change.kind is ChangeKind.erase, change.id): change for change in changes}.values()
            await self._put(version, [change for change in last if change.kind is ChangeKind.put])
            removed = (change.id for change in last if change.kind is ChangeKind.remove)
            if gone := [each for each in removed if isinstance(each, str) == version.bundle.videos.is_string]:
                await self._in(self._changer, partial(version.remove, gone))
            self.erased |= {change.id: change.time_ms for change in last if change.kind is ChangeKind.erase}
            version.reader.done(changes[-1])
            newest_ms = changes[-1].time_ms
        return newest_ms

    async def _put(self, version: Version, changes: list[Change]) -> None:
        suited = [change for change in changes if isinstance(change.id, str) == version.bundle.videos.is_string]
        if not suited:
            return
        ids, features = [change.id for change in suited], [change.features for change in suited]
        try:
            vectors = await self._in(
                self._changer, lambda: arrived_vectors(version.bundle, version.catalogue.lookup.rows(ids), features)
            )
        except (TowersError, ValueError, TypeError, OverflowError) as error:
            # One that no tower can take must not keep all that came after it from being known.
            if len(suited) == 1:
                _log.error("video %r is not shown, its vector cannot be made: %s", ids[0], error)
                return
            for change in suited:
                await self._put(version, [change])
            return
        rows = version.place(ids, features, vectors)
        await self._in(self._changer, lambda: version.catalogue.show(rows, vectors))

    async def _in(self, pool: ThreadPoolExecutor, work: Callable[[], Got]) -> Got:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def _closed_unused(opening: Future[Version]) -> None:
    """Close a version that was opened, at the last moment perhaps, for somebody who was told to stop."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
