"""The choice between exact, approximate and compact search, by measuring them."""

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.clusters import number_of_lists
from towers.index.curve import Options, Point, Wish
from towers.index.exact import Exact
from towers.index.faiss_kinds import IvfPq, IvfRabitq
from towers.index.faiss_searcher import FaissSearcher
from towers.index.index import Index, Queries, Searcher
from towers.index.ivf import Ivf, IvfSearcher
from towers.index.measure import QUERIES, Questions, expected_mb, held_mb
from towers.index.recall import to_measure
from towers.kinds import check_kinds
from towers.types import ConfigError, Geometry

_log = logging.getLogger(__name__)
_FEW, _ENOUGH_US = 4096, 100
_FEWEST_LISTS = 2
_MISTAKEN = 1.1
"""By how much more than expected an index may hold: lists fill unevenly."""
_PROBES = ((16, 8.0), (32, 8.0), (64, 8.0), (128, 8.0), (128, 16.0), (256, 16.0))
REACHES = (0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 5.0, 6.0)
"""How far to go with lists: in small steps where recalls of .95 to .995 mostly are."""
_FINER = 3
"""How often to halve the step from the last reach that finds too little to the first that finds enough."""
_APPROXIMATE: dict[str, tuple[Index, tuple[Options, ...]]] = {
    "ivf": (Ivf(), tuple({"reach": reach} for reach in REACHES)),
    "ivf_pq": (IvfPq(), tuple({"nprobe": nprobe, "factor": factor} for nprobe, factor in _PROBES)),
    "ivf_rabitq": (IvfRabitq(), tuple({"nprobe": nprobe, "factor": 2 * factor} for nprobe, factor in _PROBES)),
}
"""What to try beside exact search, the first that fits into memory, and how far to go with each."""


@dataclass(kw_only=True)
class Auto(Index):
    """The fastest index that holds what is asked for, found by measuring on this machine; `why` and `curve` tell.

    Exact search is always measured: it is what recall is measured against. Where it does not hold what is asked for,
    or takes more than 0.1 ms for one user and there are more than 4,096 videos, one more index is built, our own lists
    or, where memory forbids these, the codes of FAISS that fit, and measured at several efforts; of lists at the more,
    the nearer to what is asked. Memory is that of an index which was saved and loaded, see held_mb: its vectors stay on
    disk.

    Recall is that of every second of the queries given to build, up to 1,000 of them (lists are formed by the others),
    or where none are, of some of the videos' own vectors.
    When nothing holds, a warning says what is missed and which options would do, and the nearest is taken.

    Attributes:
        recall: Which share of the true best 100 must be found at least, above 0, at most 1.
        memory_mb: MB (10^6 bytes) that searches may read all over, besides the vectors on disk; null for any.
        p99_ms: Milliseconds that 99 of 100 searches for one user may take, on one thread; null for any.

    Example:
        >>> searcher = Auto(recall=0.95).build(np.eye(8, dtype=np.float32), np.arange(8), Geometry.cosine)
        >>> searcher.kind, [(point.name, point.recall, point.holds) for point in searcher.curve]
        ('exact', [('exact', 1.0, True)])
    """

    recall: float = 0.99
    memory_mb: float | None = None
    p99_ms: float | None = None

    def __post_init__(self) -> None:
        check_kinds(self, "index.")
        if not 0 < self.recall <= 1:
            raise ConfigError(f"index.recall is {self.recall}; give a share above 0, at most 1, as in 0.99")
        for name in ("memory_mb", "p99_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"index.{name} is {value}; give a number above 0, or null for no limit")

    @property
    def wish(self) -> Wish:
        """What is asked for."""
        return Wish(recall=self.recall, memory_mb=self.memory_mb, p99_ms=self.p99_ms)

    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        searcher, build_s = _built(Exact(), vectors, ids, geometry)
        if not len(vectors):
            searcher.why = "exact: there are no videos"
            return searcher
        given = _queries is not None and len(_queries) > 0
        questions = Questions.to(
            searcher, to_measure(_queries) if _queries is not None and given else _some_of(vectors)
        )
        wish = self.wish
        points = [_point(searcher, {}, questions, build_s)]
        other = _worth_trying(wish, points[0], vectors, geometry)
        if other:
            del searcher  # two at once may be more than there is room for
            index, efforts = _APPROXIMATE[other]
            searcher, build_s = _built(index, vectors, ids, geometry, _queries)
            points += [_point(_going(searcher, effort), effort, questions, build_s) for effort in efforts]
            for _ in range(_FINER if other == "ivf" else 0):
                place = _first_that_finds(wish, points)
                if place:
                    effort = {"reach": (points[place - 1].options["reach"] + points[place].options["reach"]) / 2}
                    points.insert(place, _point(_going(searcher, effort), effort, questions, build_s))
        best = wish.best(points)
        if best.kind != searcher.kind:
            searcher = Exact().build(vectors, ids, geometry)
        searcher = _going(searcher, best.options)
        searcher.curve = tuple(replace(each, holds=not wish.missed(each), chosen=each is best) for each in points)
        by_whom = "given queries" if given else "of the videos' own vectors, as no queries were given"
        searcher.why = f"{wish.why(points, best)}; measured with {len(questions.queries):,} {by_whom}"
        _log.log(logging.WARNING if wish.missed(best) else logging.INFO, "Index %s", searcher.why)
        return searcher


def _built(
    index: Index,
    vectors: Float32[np.ndarray, "n d"],
    ids: Int64[np.ndarray, " n"],
    geometry: Geometry,
    queries: Queries = None,
) -> tuple[Searcher, float]:
    """Return a searcher, and the seconds that building it took."""
    began = time.perf_counter()
    return index.build(vectors, ids, geometry, queries), time.perf_counter() - began


def _some_of(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "q d"]:
    """Return the directions of some vectors."""
    some = vectors[:: -(-len(vectors) // QUERIES)].astype(np.float64)
    lengths = np.linalg.norm(some, axis=1, keepdims=True)
    return np.divide(some, np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _point(searcher: Searcher, options: Options, questions: Questions, build_s: float) -> Point:
    """Return what a searcher finds, takes and holds."""
    recall = questions.recall(searcher)
    p50, p99 = np.percentile(questions.times_us(searcher), [50, 99]).tolist()
    return Point(
        kind=searcher.kind,
        options=options,
        recall=recall,
        p50_us=round(p50, 1),
        p99_us=round(p99, 1),
        memory_mb=round(held_mb(searcher), 3),
        build_s=round(build_s, 3),
    )


def _first_that_finds(wish: Wish, points: list[Point]) -> int:
    """Return the place of the first reach that finds enough after one that does not; 0 where there is none."""
    found = [point.recall >= wish.recall for point in points]
    return next((place for place in range(2, len(points)) if found[place] and not found[place - 1]), 0)


def _worth_trying(wish: Wish, exact: Point, vectors: Float32[np.ndarray, "n d"], geometry: Geometry) -> str:
    """Return which kind to try beside exact search; nothing where there is no need, or no lists could be made."""
    enough = len(vectors) <= _FEW or exact.p50_us <= _ENOUGH_US
    if (enough and not wish.missed(exact)) or number_of_lists(0, len(vectors)) < _FEWEST_LISTS:
        return ""
    expected = {kind: expected_mb(kind, vectors, geometry) for kind in _APPROXIMATE}
    most = np.inf if wish.memory_mb is None else wish.memory_mb / _MISTAKEN
    fitting = [kind for kind in expected if expected[kind] <= most]
    return fitting[0] if fitting else min(expected, key=expected.__getitem__)


def _going(searcher: Searcher, options: Options) -> Searcher:
    """Return a searcher that goes as far as options say."""
    if isinstance(searcher, IvfSearcher):
        return searcher.reaching(options["reach"])
    if isinstance(searcher, FaissSearcher):
        return searcher.probing(int(options["nprobe"]), options["factor"])
    return searcher
