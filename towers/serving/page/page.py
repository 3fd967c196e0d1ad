"""What the page asks for: a user, a video, the map, how the service does, its versions."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from towers.data import TIME_UNKNOWN
from towers.data.vocabulary import FIRST_ROW
from towers.serving.asking import Ask
from towers.serving.candidates import path_of
from towers.serving.facts import Facts
from towers.serving.http.endpoints import listed, user_of, video_of
from towers.serving.http.keys import Keys, Scope
from towers.serving.http.metrics import Metrics
from towers.serving.http.routes import Call, Reply
from towers.serving.page import messages as said
from towers.serving.page.cards import cards
from towers.serving.page.judged import told_versions
from towers.serving.page.live import told_live
from towers.serving.page.maps import Map, Pace, draw
from towers.serving.page.why import most_alike
from towers.serving.service import Service
from towers.serving.store import Id, StoreAwayError, now_ms
from towers.serving.version import Version

_log = logging.getLogger(__name__)
K, K_MOST = 20, 100
HISTORY = 60
"""How much of a history is shown."""
BECAUSE = 3
"""How many watched videos stand beside a candidate."""
_TRIES, _VERSIONS, _REST = 20, 2, 3.0


@dataclass(frozen=True)
class Backdrop:
    """What is made once for each version, beside the requests: what its videos are, and their map."""

    facts: Future[Facts]
    drawn: Future[Map]

    def map_or_none(self) -> Map | None:
        """Return the map if it is drawn."""
        return self.drawn.result() if self.drawn.done() and self.drawn.exception() is None else None


class Page:
    """Answers what the page asks.

    Args:
        metrics: What is counted.
        keys: Who may ask; None where anybody may.
    """

    def __init__(self, metrics: Metrics, keys: Keys | None) -> None:
        self._metrics, self._keys = metrics, keys
        self._thread = ThreadPoolExecutor(1, "towers-page")
        self._backdrops: OrderedDict[str, Backdrop] = OrderedDict()

    async def access(self, call: Call) -> Reply:
        """Say what a key may do."""
        if self._keys is None:
            return Reply(said.PageAccess(False, "", [scope.value for scope in Scope]))
        key = self._keys.find(call.body.key.encode())
        scopes = sorted(key.scopes) if key else []
        return Reply(said.PageAccess(True, key.name if key else "", [scope.value for scope in scopes]))

    async def somebody(self, call: Call) -> Reply:
        """Name a user who has watched something."""
        service = call.service
        counts = np.diff(np.asarray(service.version.bundle.positives.offsets))
        rows = np.flatnonzero(counts)
        for row in np.random.default_rng().permutation(rows[rows >= FIRST_ROW])[:_TRIES]:
            user = service.version.bundle.users.ids_of_known(np.array([row]))[0]
            user = user if isinstance(user, str) else int(user)
            if service.known(user):
                return Reply(said.PageSomebody(str(user)))
        return Reply(said.PageSomebody(""))

    async def user(self, call: Call) -> Reply:
        """Tell a user's history, what would be shown, and which watched videos are like it."""
        who, service = user_of(call), call.service
        found, known = await service.candidates(Ask(who, call.whole_number("k", K, K_MOST)), None)
        watched, version = await _watched(service, who), service.version
        facts, drawn = await self._backdrop(version)
        ids = [video for video, _ in watched]
        read = _read(version, ids)
        history = zip(
            cards(version, facts, drawn, ids[:HISTORY]), watched[:HISTORY], read[:HISTORY].tolist(), strict=True
        )
        candidates = listed(found)
        because = _because(version, candidates, [video for video, each in zip(ids, read, strict=True) if each])
        shown = zip(cards(version, facts, drawn, candidates), found.scores.tolist(), because, strict=True)
        return Reply(
            said.PageUser(
                user_id=str(who),
                bundle_version=found.bundle_version,
                columns=facts.names,
                path=path_of(found.way),
                history_known=known,
                short_because=found.short_because,
                watched=len(watched),
                read=int(read.sum()),
                history=[said.PageWatched(card, _time(when), each) for card, (_, when), each in history],
                candidates=[said.PageCandidate(*each) for each in shown],
            )
        )

    async def similar(self, call: Call) -> Reply:
        """Tell a video, and the videos that are most like it."""
        video, version = video_of(call), call.service.version
        found = await call.service.similar(video, call.whole_number("k", K, K_MOST))
        facts, drawn = await self._backdrop(version)
        itself, *others = cards(version, facts, drawn, [video, *listed(found)])
        scored = [said.PageScored(card, score) for card, score in zip(others, found.scores.tolist(), strict=True)]
        return Reply(said.PageSimilar(itself, found.bundle_version, facts.names, scored, found.short_because))

    async def map(self, call: Call) -> Reply:
        """Tell where videos lie; the first who asks has the map drawn, beside the requests."""
        version = call.service.version
        drawn, catalogue = self._of(version).drawn, len(version.catalogue.index)
        if not drawn.done():
            return Reply(said.PageMap("drawing", version.name, catalogue))
        if drawn.exception() is not None:
            return Reply(said.PageMap("failed", version.name, catalogue))
        found = drawn.result()
        shown = np.array([version.catalogue.shows(row) for row in found.rows.tolist()], bool)
        ids = version.catalogue.ids_of(found.rows[shown])
        x, y = found.places[shown].round(4).T.tolist()
        codes = found.codes[shown].tolist()
        texts = [str(video) for video in ids]
        return Reply(said.PageMap("drawn", version.name, catalogue, texts, x, y, found.feature, found.values, codes))

    async def live(self, call: Call) -> Reply:
        """Tell how the service does."""
        health, samples = await call.service.store.health(), await self._metrics.samples(call.service)
        return Reply(told_live(samples, now_ms(), call.service.version.name, health.away))

    async def versions(self, call: Call) -> Reply:
        """Tell all versions."""
        service = call.service
        served, refused = service.version, service.versions.refused
        told = await asyncio.to_thread(told_versions, served.bundle.folder.parent.parent, served.name)
        why = (refused.name, refused.why) if refused else ("", "")
        return Reply(said.PageVersions(served.name, *why, told))

    def _of(self, version: Version) -> Backdrop:
        made = self._backdrops.get(version.name)
        if made is None:
            bundle = version.bundle
            facts = self._thread.submit(lambda: Facts(bundle.video_table()))
            made = self._backdrops[version.name] = Backdrop(
                facts, self._thread.submit(lambda: draw(bundle, rest=Pace(_REST)))
            )
            made.drawn.add_done_callback(_tell)
            if len(self._backdrops) > _VERSIONS:
                self._backdrops.popitem(last=False)
        return made

    async def _backdrop(self, version: Version) -> tuple[Facts, Map | None]:
        made = self._of(version)
        return await asyncio.wrap_future(made.facts), made.map_or_none()


async def _watched(service: Service, user: Id) -> list[tuple[Id, int]]:
    """Return what a user has watched and when, newest first; without the store what the bundle knows."""
    try:
        since = await service.store.history(user)
    except StoreAwayError:
        since = []
    both = sorted(dict.fromkeys([*service.known(user), *since]), key=lambda each: each[1])
    return both[::-1]


def _read(version: Version, newest_first: Sequence[Id]) -> np.ndarray:
    """Return of each watched video whether the towers read it: the newest that they know, as many as they look at."""
    known = version.catalogue.rows(list(newest_first)) >= FIRST_ROW if newest_first else np.zeros(0, bool)
    return known & (np.cumsum(known) <= version.bundle.tower_arrays.window)


def _because(version: Version, candidates: Sequence[Id], read: Sequence[Id]) -> list[list[said.PageBecause]]:
    """Return for each candidate the videos that were read and are most like it."""
    ids = list(dict.fromkeys(read))
    rows = version.catalogue.rows(list(candidates)) if candidates else np.zeros(0, np.int64)
    if not ids or not len(rows):
        return [[] for _ in candidates]
    queries = version.bundle.tower_arrays.likeness_queries(version.catalogue.vectors_of(rows))
    places, likeness = most_alike(queries, version.catalogue.vectors_of(version.catalogue.rows(ids)), BECAUSE)
    return [
        [said.PageBecause(str(ids[place]), score) for place, score in zip(*each, strict=True)]
        for each in zip(places.tolist(), likeness.tolist(), strict=True)
    ]


def _time(time_ms: int) -> int | None:
    return time_ms if time_ms > TIME_UNKNOWN else None


def _tell(drawn: "Future[Map]") -> None:
    if (error := drawn.exception()) is not None:
        _log.error("the page's map could not be drawn: %r", error)
