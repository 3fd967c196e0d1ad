"""One version of a bundle as it is served: with the videos that came since, and filters that are asked for again."""

import asyncio
import logging
import shutil
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32, Int64

from towers.compiled import compiled
from towers.data import TIME_UNKNOWN
from towers.data.vocabulary import FIRST_ROW
from towers.index import Mask
from towers.index.live import Change
from towers.publishing import Bundle
from towers.serving.arrivals import Features, arrived_vectors
from towers.serving.asking import Ask
from towers.serving.candidates import Candidates, Way
from towers.serving.catalogue import LiveCatalogue
from towers.serving.chosen import FeatureValue, Value, Where, several
from towers.serving.lookup import Id
from towers.serving.retriever import Retriever
from towers.serving.store import Reader, now_ms
from towers.types import DataError

_log = logging.getLogger(__name__)
_FILTERS = 256
_Wanted = tuple[tuple[str, tuple[str, ...]], ...]
"""Features and their values."""
_POPULAR, _DAYS_MS = 5000, 7 * 86_400_000
_SECONDS = (10**9, 10**10)
"""Since 1970: what is a time of this century in seconds."""
_AHEAD_MS = 86_400_000


@dataclass(frozen=True)
class Refused:
    """A version that was not adopted.

    Attributes:
        name: Which.
        why: What is wrong with it.
    """

    name: str
    why: str


class Version:
    """Answers from a bundle and from what came since.

    Args:
        bundle: An open version.
        folder: Where its index lives, a new folder; it is removed by `close`.

    Attributes:
        bundle: The version.
        retriever: Answers without filters.
        made_ms: When the bundle was made, UTC.
        knows_until_ms: Until when what it knows of users may have happened, UTC: who is erased after it is forgotten.
        reader: Which changes of the store it knows.
        preparing: The end of `prepare`, where another thread has been asked for it.
    """

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self._folder = bundle, folder
        self._catalogue = LiveCatalogue(bundle, folder)
        self.retriever = Retriever(bundle, catalogue=self._catalogue)
        self.made_ms = int(datetime.fromisoformat(bundle.manifest["created_at"]).timestamp() * 1000)
        self.reader = Reader()
        self.preparing: Future[None] | None = None
        self._filters: OrderedDict[tuple[_Wanted, _Wanted], tuple[Retriever, frozenset[FeatureValue]]] = OrderedDict()
        self.knows_until_ms = min(self.made_ms, _read_ms(bundle, self.made_ms))
        self._popular, newest_ms = _popular_rows(bundle, self.knows_until_ms)
        if newest_ms != TIME_UNKNOWN:
            self.knows_until_ms = min(self.knows_until_ms, newest_ms)

    @property
    def name(self) -> str:
        """The version's name."""
        return self.bundle.version

    @property
    def catalogue(self) -> LiveCatalogue:
        """Its videos."""
        return self._catalogue

    @property
    def applied(self) -> int:
        """The number of the last change that it knows."""
        return self.reader.number

    def check_time(self, time_ms: int) -> None:
        """Check that a moment can be one, in milliseconds.

        Raises:
            DataError: It is seconds, where the bundle's moments are not, or lies ahead.
        """
        if _SECONDS[0] <= time_ms < _SECONDS[1] and self.knows_until_ms >= _SECONDS[1]:
            raise DataError(f"time_ms is {time_ms}, of early 1970, as if in seconds; give milliseconds UTC")
        if time_ms > max(now_ms(), self.made_ms) + _AHEAD_MS:
            raise DataError(
                f"time_ms is {time_ms}, more than a day ahead of this machine's clock; give milliseconds UTC"
            )

    def filtered(self, only: Where, without: Where) -> Retriever:
        """Return the retriever for videos that suit `only` and do not suit `without`; those asked for last are kept.

        Raises:
            ConfigError: A feature that there is not, or a value that is none.
        """
        if not only and not without:
            return self.retriever
        key = (_key(only), _key(without))
        if key in self._filters:
            self._filters.move_to_end(key)
            return self._filters[key][0]
        kept = self.retriever.only(only) if only else self.retriever
        kept = kept.without(without, strict=False) if without else kept
        asked = frozenset((name, value) for wanted in key for name, values in wanted for value in values)
        self._filters[key] = kept, asked
        if len(self._filters) > _FILTERS:
            self._filters.popitem(last=False)
        return kept

    def put(self, ids: Sequence[Id], features: Sequence[Features]) -> None:
        """Show videos from now on; see LiveCatalogue.put.

        Raises:
            TowersError: A vector is not finite.
        """
        vectors = arrived_vectors(self.bundle, self._catalogue.lookup.rows(list(ids)), features)
        self._catalogue.show(self.place(ids, features, vectors), vectors)

    def place(
        self, ids: Sequence[Id], features: Sequence[Features], vectors: Float32[np.ndarray, "n d"]
    ) -> Int64[np.ndarray, " n"]:
        """Let filters know videos before anybody is shown them; return their rows, for LiveCatalogue.show."""
        rows = self._catalogue.place(ids, vectors)
        changed = self.retriever.chooser.note(rows, features)
        for key in [key for key, (_, asked) in self._filters.items() if not changed.isdisjoint(asked)]:
            del self._filters[key]
        return rows

    def remove(self, ids: Sequence[Id]) -> None:
        """Show videos no more."""
        self._catalogue.remove(list(ids))

    def popular(self, ask: Ask, retriever: Retriever | None = None) -> Candidates:
        """Return what was watched most in the bundle's last week and may be shown, without towers.

        Args:
            ask: What is asked for.
            retriever: Who answers otherwise, with the filters of the request; the one without filters unless given.
        """
        may = (retriever or self.retriever).may_show(self._popular, ask).tolist()
        rows = np.array([row for row in may if self._catalogue.shows(row)][: ask.k], np.int64)
        why = f"asked for {ask.k}; {len(rows)} of the most watched are left" if len(rows) < ask.k else ""
        scores = np.linspace(1, 0, len(rows), endpoint=False, dtype=np.float32)
        return Candidates(self._catalogue.ids_of(rows), scores, Way.popular, why, 0, self.name)

    def warm(self) -> None:
        """Answer once in every way, that nobody waits for machine code or pages; nothing is changed by it."""
        known = self.bundle.users.known[:1].tolist()
        history = list(self.bundle.videos.ids_of_known(np.array([FIRST_ROW])))
        for user in [*known, None]:
            self.retriever.answer(Ask(user, 10))
            self.retriever.only(ids=history).without(ids=history).answer(Ask(user, 10, exclude=history))
            self.retriever.answer(Ask(user, 10, exclude=history, since=[(history[0], self.made_ms)]))
        rows = np.array([FIRST_ROW])
        vectors = arrived_vectors(self.bundle, rows, [{}])
        later, _ = self._catalogue.index.moment.after(Change(rows, vectors))
        for allow in (None, Mask(rows)):
            later.find(vectors, 1, [rows], allow)

    def prepare(self) -> None:
        """Make what the first who asks for some videos alone would wait for."""
        try:
            self.retriever.chooser.prepare()
            half = Mask(np.arange(FIRST_ROW, len(self.bundle.vectors), 2))
            self._catalogue.index.moment.find(np.array(self.bundle.vectors[FIRST_ROW : FIRST_ROW + 1]), 1, None, half)
        except Exception:
            _log.exception("version %s was not prepared; who asks for some videos alone waits for it", self.name)

    async def prepared(self, most_s: float | None = None) -> bool:
        """Wait for `preparing`, if it has been begun, while others are answered; return whether it has ended."""
        if self.preparing is None or self.preparing.done():
            return True
        done, _ = await asyncio.wait([asyncio.wrap_future(self.preparing)], timeout=most_s)
        return bool(done)

    def __enter__(self) -> "Version":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index and remove its folder; what is being answered is answered."""
        try:
            self._catalogue.close()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def _read_ms(bundle: Bundle, otherwise: int) -> int:
    """Return when the dataset was made that the bundle is of, ms UTC; bundles of before do not say."""
    told = bundle.manifest.get("read_at")
    return int(datetime.fromisoformat(told).timestamp() * 1000) if told else otherwise


def _popular_rows(bundle: Bundle, read_ms: int) -> tuple[Int64[np.ndarray, " n"], int]:
    """Return the rows that were watched most in the bundle's last week, or ever without times; and the week's end.

    A clock that goes wrong dates an event ahead of when the log was read: no week ends there.
    """
    watched, when = np.asarray(bundle.positives.video_row), np.asarray(bundle.positives.time_ms)
    counts, newest_ms = _watched_since(watched, when, (_DAYS_MS, read_ms), len(bundle.vectors))
    # Those that may be among them first, in the order of their rows: to sort a million takes a tenth of a second.
    least = np.partition(counts, max(0, len(counts) - _POPULAR))[max(0, len(counts) - _POPULAR)]
    some = np.flatnonzero(counts >= least)
    most = some[np.argsort(-counts[some], kind="stable")[:_POPULAR]]
    return most[most >= FIRST_ROW], int(newest_ms)


@compiled
def _watched_since(
    rows: Int32[np.ndarray, " n"], when: Int64[np.ndarray, " n"], week: tuple[int, int], size: int
) -> tuple[Int32[np.ndarray, " size"], np.int64]:
    """Return how often each row was watched in a log's last so many ms, or ever without times; and its newest time.

    Args:
        rows: Of what was watched.
        when: Each was watched.
        week: How many ms, and what no time is taken to be above.
        size: How many rows there are.
    """
    last, (last_ms, most_ms) = np.int64(TIME_UNKNOWN), week
    for time_ms in when:
        last = max(last, time_ms if time_ms <= most_ms else last)
    counts = np.zeros(size, np.int32)
    for event in range(rows.size):
        counts[rows[event]] += last == TIME_UNKNOWN or when[event] > last - last_ms
    counts[:FIRST_ROW] = 0
    return counts, last


def _key(where: Where) -> _Wanted:
    """Return what two equal wishes have in common."""
    return tuple(sorted((name, _values(value)) for name, value in where.items()))


def _values(value: Value | Sequence[Value]) -> tuple[str, ...]:
    return tuple(sorted(map(str, several(value))))
