"""The main part of a live index: how it is built, when it is built anew, and what recall it had."""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from towers.index.auto import Auto
from towers.index.exact import Exact, ExactSearcher
from towers.index.index import Index
from towers.index.ivf import Ivf, IvfSearcher
from towers.index.live.health import QUERIES, recall_of
from towers.index.live.moment import Moment, Videos
from towers.index.recall import to_measure
from towers.index.searcher import BlockSearcher
from towers.types import ConfigError, Geometry

_GROWN, _KEPT = 2, 2 * QUERIES


@dataclass(frozen=True, kw_only=True)
class Upkeep:
    """When a live index builds its main part anew by itself.

    A search looks at all recent vectors: 4,000 of them cost it some 40 µs, where the main part of 100,000 videos takes
    50 to 70. To build anew takes a pass over the main part: of 100,000 videos 1.3 to 1.9 s of a busy core.

    Attributes:
        recent: Once the vectors that came use this share of the main part's number of slots.
        at_least: But not below so many.
        removed: Once this share of the main part was removed or replaced.
        fall: Lists are made anew where recall has fallen by more than this since they were made.
        background: Whether to build without being asked, in a thread of its own.
    """

    recent: float = 1 / 50
    at_least: int = 4096
    removed: float = 1 / 4
    fall: float = 0.005
    background: bool = True

    def __post_init__(self) -> None:
        if self.recent < 0 or self.at_least < 1 or not 0 <= self.removed <= 1 or not 0 <= self.fall <= 1:
            raise ConfigError(
                f"{self} makes no sense; recent must be 0 or more, at_least 1 or more, removed and fall within 0 and 1"
            )

    def recent_slots(self, built: int) -> int:
        """Return how many recent vectors there may be beside a main part built of so many."""
        return max(int(self.recent * built), self.at_least)

    def is_due(self, now: Moment, patience: int) -> bool:
        """Return whether the main part should be built anew; patience is 1, more after each time that it failed."""
        tombstones = max(self.removed * now.built, self.at_least)
        recent = self.recent_slots(now.built)
        return now.recent.used > patience * recent or now.tombstones > patience * tombstones


class Part(NamedTuple):
    """A main part, and what recall its lists had when they were made.

    Attributes:
        main: The main part.
        recall: Share of the true best K that was found then.
        queries: Vectors of users, of which some formed the lists and others told the recall, [q, d]; or some of the
            videos' own, where no users were known.
        videos: How many vectors there were then.
        users: Whether users were known.
    """

    main: BlockSearcher
    recall: float
    queries: Float32[np.ndarray, "q d"]
    videos: int
    users: bool

    @property
    def asking(self) -> Float32[np.ndarray, "p d"]:
        """The queries that told the recall, [p, d]."""
        return to_measure(self.queries) if self.users else self.queries

    def header(self) -> dict[str, Any]:
        """Return what belongs in the header."""
        return {"recall": self.recall, "videos": self.videos, "users": self.users}

    def save(self, folder: Path) -> None:
        """Write the main part and the queries."""
        self.main.save(folder)
        np.save(folder / "queries.npy", self.queries)

    @classmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> "Part":
        """Read what save wrote, mapped."""
        from towers.index import load_index

        main = block_searcher(load_index(folder))
        return cls(main, header["recall"], np.load(folder / "queries.npy"), header["videos"], header.get("users", True))


def from_nothing(index: Index, content: Videos, users: Float32[np.ndarray, "q d"], geometry: Geometry) -> Part:
    """Return a main part whose lists are made for what it holds and for users; without users, some videos ask.

    There are at most as many lists as vectors: a catalogue that shrinks must not be one that cannot be built.

    Raises:
        ConfigError: An index of a kind that cannot live.
    """
    vectors, ids = content
    fitting, why = _fitting(index, len(ids))
    known = len(users) > 0
    main = block_searcher(fitting.build(vectors, ids, geometry, users if known else None))
    main.why = why or main.why
    queries = users if known else np.ascontiguousarray(vectors[:: -(-len(vectors) // QUERIES) or 1])
    part = Part(main, 1.0, queries, len(ids), known)
    return part._replace(recall=recall_of(Moment.of(main), part.asking))


def rebuilt(last: Part, now: Moment, index: Index, queries: Float32[np.ndarray, "q d"], fall: float | None) -> Part:
    """Return a main part of all that a moment holds.

    The kind and how far it goes stay what they were, so that nothing is measured but recall. Lists stay, with new
    means, and what is new goes where the mean is nearest: a pass over the vectors. They are made anew, and Auto
    chooses anew, where recall would be lower by more than `fall` than when they were made, where there are more than
    twice or less than half as many videos as then, or where `fall` is None: for those who asked of late, of whom there
    may be few, and for those for whom they were made before.
    """
    asked = queries if len(queries) else last.asking
    known = last.videos / _GROWN <= len(now) <= last.videos * _GROWN
    if isinstance(now.main, IvfSearcher) and known and fall is not None:
        main = now.main.refilled(*now.news())
        if recall_of(Moment.of(main), asked) >= last.recall - fall:
            return last._replace(main=main)
    if isinstance(now.main, ExactSearcher) and known and fall is not None:
        exact = block_searcher(Exact(device=now.main.device).build(*now.contents(), now.main.geometry))
        exact.why = now.main.why
        return last._replace(main=exact)
    users = np.concatenate([last.queries, queries])[-_KEPT:] if last.users else queries
    return from_nothing(index, now.contents(), users, now.main.geometry)


def _fitting(index: Index, n: int) -> tuple[Index, str]:
    """Return an index that n vectors can be built into, and what was asked for where that is another one."""
    if not isinstance(index, Ivf) or not 0 < n < index.nlist:
        return index, ""
    return replace(index, nlist=n), f"{n} lists of index.nlist={index.nlist}: there are only {n} videos"


def named(index: Index) -> dict[str, Any]:
    """Return an index as a header says it.

    Raises:
        ConfigError: A class that the package does not know, so that it could not be read again; or a limit of memory.
    """
    from towers.index import INDEXES

    if isinstance(index, Auto) and index.memory_mb is not None:
        raise ConfigError(f"index.memory_mb is {index.memory_mb}, but a live index grows with what comes; leave it out")

    for name, kind in INDEXES.items():
        if type(index) is kind:
            return {"name": name, "options": asdict(index)}
    raise ConfigError(f"{type(index).__name__} is not one of {', '.join(INDEXES)}; a live index must build it again")


def of_name(header: dict[str, Any]) -> Index:
    """Return the index that a header says."""
    from towers.index import INDEXES

    kind = INDEXES[header["name"]]
    # Headers of before Auto measured hold options that it chose by then.
    known = {field.name for field in fields(kind)}
    return kind(**{name: value for name, value in header["options"].items() if name in known})


def block_searcher(searcher: Any) -> BlockSearcher:  # noqa: ANN401
    """Return a searcher of a kind that can live.

    Raises:
        ConfigError: It is of another.
    """
    if not isinstance(searcher, BlockSearcher):
        raise ConfigError(
            f"an index of kind {searcher.kind} cannot live, and so not be served; "
            "take exact, ivf, or auto without memory_mb, and publish again"
        )
    return searcher
