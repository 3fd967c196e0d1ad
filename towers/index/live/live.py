"""An index that lives: videos come, change and go while it is searched, and a crash loses nothing acknowledged."""

import logging
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.auto import Auto
from towers.index.index import Allow, Ids, Index, Searcher, checked
from towers.index.live.current import Current
from towers.index.live.folder import clean, install, journal_file, locked, main_part, read_header, write_header
from towers.index.live.health import QUERIES, Health, Heard, recall_of
from towers.index.live.journal import Change, Journal
from towers.index.live.moment import Moment
from towers.index.live.opening import State, read_state
from towers.index.live.parts import Part, Upkeep, from_nothing, named, of_name, rebuilt
from towers.types import DataError, Geometry, Hits

_log = logging.getLogger(__name__)
_FULL = 4


class Live(Searcher):
    """A main part that is mapped from disk, an exact part for what came since, and bits for what has gone.

    A search takes one moment, an object that nobody changes, and waits for nobody. A write appends to a journal,
    waits until the disk has it, makes the next moment and lets searches begin from there: a search sees all of a call
    or none of it, and from its return on every search sees it. Calls from several threads at once share one wait
    for the disk. When enough has come or gone, a thread builds a new main part beside the old one and searches move
    to it; see Upkeep.

    One process writes, any number may read the same folder, each what was there when it opened it.

    Cost: a write of one video takes .05 ms, what the disk's fsync takes, and what copying a bit for each video takes;
    every time that a 50th of the catalogue has come, a thread passes once over all of it. Memory: two bits for each
    video, 2 to 4 times what recent vectors take (dim × 5 + 30 bytes each), and while a main part is built, twice the
    catalogue's vectors. Where writes are faster than building, they wait for it once recent vectors are four times
    too many. Measured in benchmarks/churn.py.

    Attributes:
        folder: Where it lives.
        recovered: What the journals held at opening, and what a crash had left unfinished.

    Example:
        >>> import tempfile
        >>> vectors = np.eye(3, dtype=np.float32)
        >>> with Live.create(tempfile.mkdtemp(), vectors[:2], np.array([70, 80]), Geometry.dot) as live:
        ...     new = live.put(vectors[2:], np.array([90]))
        ...     gone = live.remove(np.array([70, 5]))
        ...     live.search(vectors, 1).ids.tolist(), new, gone
        ([[80], [80], [90]], 1, 1)
    """

    kind: ClassVar[str] = "live"
    exact: ClassVar[bool] = False

    def __init__(self, folder: Path, state: State, upkeep: Upkeep, lock: IO[bytes] | None, *, sync: bool) -> None:
        """Take over a folder that was read; see `open`."""
        super().__init__(Geometry(state.header["geometry"]), state.part.main.why)
        self.folder, self.recovered = folder, state.recovered
        self._header, self._part, self._upkeep, self._lock = state.header, state.part, upkeep, lock
        if lock is not None:
            clean(folder, state.header["generation"])
        self._current = Current(folder, state, write=lock is not None, sync=sync)
        self._heard = Heard(self.dim)
        self._building, self._starting = threading.Lock(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._patience = 1

    @classmethod
    def create(
        cls,
        folder: str | Path,
        vectors: Float32[np.ndarray, "n d"],
        ids: Int64[np.ndarray, " m"],
        geometry: Geometry,
        index: Index | None = None,
        queries: Float32[np.ndarray, "q d"] | None = None,
    ) -> "Live":
        """Build the first main part in a new or empty folder, and open it for writing.

        Args:
            folder: Where it shall live.
            vectors: One vector per video, [n, d]; n may be 0.
            ids: What to call them, each ≥ 0 and different, [n].
            geometry: The geometry in which the model was trained.
            index: What builds main parts, now and later: Exact, Ivf or Auto (None).
            queries: User vectors to form lists and measure recall by, [q, d]; None measures by some of the vectors.

        Raises:
            DataError: As Index.build; or the folder holds something.
            ConfigError: An index whose kind cannot live.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise DataError(f"{folder} is not empty; give a new folder, or open what is there with Live.open")
        index, dim = index or Auto(), vectors.shape[1]
        name, asked = named(index), np.zeros((0, dim), np.float32) if queries is None else queries[:QUERIES]
        part = from_nothing(index, (vectors, ids), asked, geometry)
        Journal.create(journal_file(folder, 1), dim, sync=True).close()
        install(main_part(folder, 1), part.save)
        header = {"geometry": geometry.value, "dim": dim, "index": name, "generation": 1}
        write_header(folder, header | part.header())
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path, *, write: bool = True, sync: bool = True, upkeep: Upkeep | None = None) -> "Live":
        """Open a folder, and do again what its journals say.

        Args:
            folder: Where it lives.
            write: Whether to write; one process at a time may.
            sync: Whether writes wait for the disk. Without, a killed process loses nothing, but a machine that loses
                power loses what the disk had not written: for those who keep their own log and can put it again.
            upkeep: When to build anew; None takes the defaults.

        Raises:
            DataError: No live index, one that is open for writing elsewhere, or one that was damaged: which file, and
                from which byte on.
        """
        folder = Path(folder)
        if not write:
            return cls(folder, read_state(folder), upkeep or Upkeep(), None, sync=False)
        read_header(folder)
        lock = locked(folder)
        try:
            return cls(folder, read_state(folder), upkeep or Upkeep(), lock, sync=sync)
        except BaseException:
            lock.close()
            raise

    @classmethod
    def load(cls, folder: Path, _header: dict[str, Any]) -> Searcher:
        """Open a folder for reading."""
        return cls.open(folder, write=False)

    def __enter__(self) -> "Live":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._current.now)

    @property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """What the caller calls the vectors, rising, [n]."""
        return self._current.now.ids()

    @property
    def moment(self) -> Moment:
        """What a search that begins now sees."""
        return self._current.now

    @property
    def recall_built(self) -> float:
        """What recall the lists of its main part had when they were made."""
        return self._part.recall

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self._header["dim"])

    @property
    def longest(self) -> float:
        """At least the length of the longest vector."""
        return self._current.now.longest

    def put(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " m"]) -> int:
        """Add videos, and replace the vectors of those that are there; return how many are new.

        Args:
            vectors: One vector per video, [n, d].
            ids: What to call them, each ≥ 0 and different, [n].

        Raises:
            DataError: As Index.build, or another dimension: nothing is changed then. Or the index is not open for
                writing, or the disk or memory (MemoryError) refused: it is not known then whether the change will be
                there when it is opened again, and until then nothing more is written.
        """
        if vectors.shape[1:] != (self.dim,):
            raise DataError(f"vectors have shape {vectors.shape}; give one a row, [n, {self.dim}], of one model")
        # Copies: what is built meanwhile gets them later, and the caller may use the arrays again.
        vectors, ids = checked(np.array(vectors, np.float32), np.array(ids, np.int64), self.geometry)
        return len(ids) - self._write(Change(ids, vectors))

    def remove(self, ids: Int64[np.ndarray, " m"]) -> int:
        """Remove videos; return how many of them were there.

        Raises:
            DataError: The index is not open for writing, or the disk refused, see put.
        """
        return self._write(Change(np.unique(ids), None))

    def compact(self, *, recluster: bool = False) -> None:
        """Build a new main part of all that is here, and move to it; searches and writes go on meanwhile.

        A crash at any point leaves the old main part valid, with its journals.

        Args:
            recluster: Whether to make lists anew even where recall is as it was.

        Raises:
            DataError: The index is not open for writing.
        """
        with self._building:
            before = self._current.begin()
            try:
                header, part = self._installed(before, None if recluster else self._upkeep.fall)
                self._current.move_to(part.main)
            except BaseException:
                # Searches go on with what they had; the folder, by its own word, holds that or as much in the new part.
                self._current.stay()
                clean(self.folder, read_header(self.folder)["generation"])
                raise
            self._header, self._part, self.why, self._patience = header, part, part.main.why, 1
            clean(self.folder, header["generation"])

    def health(self, queries: Float32[np.ndarray, "q d"] | None = None) -> Health:
        """Measure recall against an exact search of the same moment; where it has fallen, have lists made anew.

        Args:
            queries: User vectors, [q, d]; None takes the last 256 that were searched for, or where there are none,
                those by which recall was measured when the lists were made.
        """
        now, part = self._current.now, self._part
        asked = self._heard.queries() if queries is None else queries
        asked = asked if len(asked) else part.asking
        recall = recall_of(now, asked)
        fallen = recall < part.recall - self._upkeep.fall
        if fallen and self._lock is not None and self._upkeep.background:
            self._start(recluster=True)
        return Health(recall, part.recall, fallen, len(asked), len(now.recent), now.tombstones)

    def close(self) -> None:
        """Wait for what is being built, close the files and let others write; searches still work."""
        self._join()
        with self._building, self._lock or nullcontext():  # no compaction goes on once others may write
            self._current.close()

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None) -> Hits:
        self._heard.note(queries)
        return self._current.now.find(queries, k, exclude, allow)

    def _save(self, _folder: Path) -> dict[str, Any]:
        raise DataError(f"{self.folder} is on disk already; save(folder) makes a copy of a moment")

    def save(self, folder: Path) -> None:
        """Write all that is here now as a live index of its own, in a new or empty folder."""
        index, users = of_name(self._header["index"]), self._part.queries if self._part.users else None
        self.create(folder, *self._current.now.contents(), self.geometry, index, users).close()

    def _write(self, change: Change) -> int:
        if not len(change.ids):
            return 0
        now = self._current.now
        if now.recent.used > _FULL * self._upkeep.recent_slots(now.built):
            self._join()
        there = self._current.write(change)
        if self._upkeep.background and self._upkeep.is_due(self._current.now, self._patience):
            self._start(recluster=False)
        return there

    def _installed(self, before: Moment, fall: float | None) -> tuple[dict[str, Any], Part]:
        """Build a main part, put it on disk and make it valid."""
        built = rebuilt(self._part, before, of_name(self._header["index"]), self._heard.queries(), fall)
        place = main_part(self.folder, self._current.number)
        install(place, built.save)
        header = self._header | built.header() | {"generation": self._current.number}
        part = Part.load(place, header)
        # Whoever searches next shall wait neither for machine code nor for pages nor for masks.
        Moment.of(part.main).warm(part.queries[:1], before)
        write_header(self.folder, header)
        return header, part

    def _join(self) -> None:
        """Wait for what is being built."""
        if (thread := self._thread) is not None:
            thread.join()

    def _start(self, *, recluster: bool) -> None:
        """Build in the background, unless that is being done."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._build, args=(recluster,), name="towers-live")
                self._thread.start()

    def _build(self, recluster: bool) -> None:
        try:
            self.compact(recluster=recluster)
        except Exception:
            self._patience *= 2
            _log.exception("%s could not build a new main part; it goes on with the old one", self.folder)
