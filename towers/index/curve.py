"""The trade-off between recall, speed and memory: what was asked for, what was measured, and which of that is best."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

K = 100
"""Recall and speed are measured with so many candidates."""
Options = dict[str, int | float]
"""Options of an index by name."""
NOISE = 0.1
"""Speeds that differ by less than this share are equal."""
_RECALL_WEIGHS = 10
_MARGIN = 1.1


@dataclass(frozen=True, kw_only=True)
class Point:
    """One way to search a catalogue, as it was measured.

    Attributes:
        kind: The kind of index.
        options: Those of its options by which it differs from other points of its kind.
        recall: Share of the true best K that it finds.
        p50_us: What half of the searches for one user take at most, one at a time on one thread, in µs.
        p99_us: What 99 of 100 take at most, in µs.
        memory_mb: What a search reads all over, in MB of 10^6 bytes; see held_mb.
        build_s: Seconds to build it; points that differ in options alone share one build.
        holds: Whether it holds all that was asked for.
        chosen: Whether it was chosen.
    """

    kind: str
    options: Options
    recall: float
    p50_us: float
    p99_us: float
    memory_mb: float
    build_s: float
    holds: bool = False
    chosen: bool = False

    @property
    def name(self) -> str:
        """Kind and options in words, such as `ivf reach=2.5`."""
        return " ".join([self.kind, *(f"{name}={value:g}" for name, value in self.options.items())])

    def told(self) -> dict[str, Any]:
        """Return the point as a manifest says it."""
        figures = asdict(self)
        figures[f"recall@{K}"] = figures.pop("recall")
        return figures


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked of an index; None asks for nothing.

    Attributes:
        recall: Recall among the best K at least.
        memory_mb: Memory at most.
        p99_ms: Milliseconds of 99 of 100 searches at most.
    """

    recall: float
    memory_mb: float | None = None
    p99_ms: float | None = None

    def missed(self, point: Point) -> dict[str, float]:
        """Return by what share a point misses each thing that it does not hold.

        Example:
            >>> point = Point(kind="ivf", options={}, recall=0.9, p50_us=40.0, p99_us=150.0, memory_mb=5.0, build_s=1.0)
            >>> Wish(recall=0.8, memory_mb=9.0, p99_ms=0.1).missed(point)
            {'p99_ms': 0.5}
        """
        shares = {"recall": 1 - point.recall / self.recall}
        if self.p99_ms is not None:
            shares["p99_ms"] = point.p99_us / (1000 * self.p99_ms) - 1
        if self.memory_mb is not None:
            shares["memory_mb"] = point.memory_mb / self.memory_mb - 1
        return {name: share for name, share in shares.items() if share > 0}

    def best(self, points: Sequence[Point]) -> Point:
        """Return the fastest point that holds, or the nearest to what was asked where none does.

        Of those that are as fast, up to noise, the one of the highest recall. Nearest is what misses the memory by the
        least, then the rest: a hundredth of the recall weighs as much as a tenth of the time.
        """
        holding = [point for point in points if not self.missed(point)]
        if holding:
            fastest = min(point.p50_us for point in holding)
            tied = [point for point in holding if point.p50_us <= fastest * (1 + NOISE)]
            return max(tied, key=lambda point: (point.recall, -point.p50_us))
        return min(points, key=self._distance)

    def _distance(self, point: Point) -> tuple[float, float, float]:
        missed = self.missed(point)
        rest = _RECALL_WEIGHS * missed.get("recall", 0.0) + missed.get("p99_ms", 0.0)
        return missed.get("memory_mb", 0.0), rest, point.p50_us

    def why(self, points: Sequence[Point], best: Point) -> str:
        """Return in one line what was chosen and why, or what it misses and what to ask for instead."""
        missed = self.missed(best)
        if missed:
            told = " and ".join(_miss(name, getattr(self, name), best) for name in missed)
            held = "nothing measured holds" if len(points) > 1 else "it does not hold"
            return f"{best.name}: {held} what was asked, and here {told}; {self.advice(points, best)} would hold"
        figures = (
            f"{best.name}: recall@{K} {_down(best.recall, 4)}, p50 {best.p50_us:.0f} µs, p99 {best.p99_us:.0f} µs, "
        )
        figures += f"{best.memory_mb:.3g} MB beside its vectors"
        holding = sum(not self.missed(point) for point in points)
        return f"{figures}; {'nothing faster is needed' if len(points) == 1 else f'the fastest of {holding} that hold'}"

    def advice(self, points: Sequence[Point], nearest: Point) -> str:
        """Return which option to set to what, so that something holds: one option alone where one is enough.

        Example:
            >>> point = Point(kind="ivf", options={}, recall=0.9, p50_us=40.0, p99_us=150.0, memory_mb=5.0, build_s=1.0)
            >>> Wish(recall=0.8, p99_ms=0.1).advice([point], point)
            'index.p99_ms=0.165'
        """
        ways = []
        for name in ("recall", "p99_ms", "memory_mb"):
            enough = [point for point in points if set(self.missed(point)) == {name}]
            if enough:
                ways.append(_content_with(name, min(enough, key=lambda point: self.missed(point)[name])))
        return " or ".join(ways) or " and ".join(_content_with(name, nearest) for name in self.missed(nearest))


def _miss(name: str, asked: float, point: Point) -> str:
    said = {
        "recall": f"recall@{K} is {_down(point.recall, 4)}",
        "p99_ms": f"p99 is {point.p99_us / 1000:.3g} ms",
        "memory_mb": f"memory is {point.memory_mb:.3g} MB",
    }
    return f"{said[name]} where {asked:g} was asked"


def _content_with(name: str, point: Point) -> str:
    """Return the option that a point holds; times with a margin for noise."""
    if name == "recall":
        return f"index.recall={_down(point.recall, 3)}"
    value = point.p99_us / 1000 * _MARGIN if name == "p99_ms" else point.memory_mb
    digits = 2 - math.floor(math.log10(value)) if value > 0 else 0
    return f"index.{name}={math.ceil(round(value * 10**digits, 6)) / 10**digits:g}"


def _down(share: float, digits: int) -> str:
    """Return a share in words that claim no more than there is."""
    return f"{math.floor(round(share * 10**digits, 6)) / 10**digits:g}"
