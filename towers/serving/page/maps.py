"""A map of a bundle's videos: those that the towers find alike lie together, coloured by what they are."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from towers.data import Kind
from towers.data.vocabulary import FIRST_ROW
from towers.publishing import Bundle
from towers.serving.facts import telling
from towers.serving.page.plane import flattened, nearest, no_rest, normalised

MOST = 5000
"""How many videos are drawn at most: those that were watched most."""
COLOURS = 8
"""How many values have a colour of their own."""
_COVERED = 0.3
_BESIDE = 3


@dataclass(frozen=True)
class Map:
    """Where videos lie.

    Attributes:
        rows: The videos that are drawn, ascending, [n].
        places: Where, within the unit circle, [n, 2].
        feature: What colours mean; empty where no feature is telling.
        values: Of the feature, the most frequent first.
        codes: Of each video the place of its value in values; len(values) for others, [n].
        directions: Vectors of length 1, by which other videos are placed, [n, d].
    """

    rows: Int64[np.ndarray, " n"]
    places: Float64[np.ndarray, "n 2"]
    feature: str
    values: list[str]
    codes: Int64[np.ndarray, " n"]
    directions: Float32[np.ndarray, "n d"]

    def at(self, rows: Int64[np.ndarray, " m"], vectors: Float32[np.ndarray, "m width"]) -> Float64[np.ndarray, "m 2"]:
        """Return where videos lie, [m, 2]; those that are not drawn amid the drawn ones that are most like them.

        Args:
            rows: The videos, [m].
            vectors: Theirs, [m, width]; numbers after the map's d are left out.
        """
        if not len(self.rows) or not len(rows):
            return np.zeros((len(rows), 2))
        found = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        places = self.places[found]
        others = np.flatnonzero(self.rows[found] != rows)
        if len(others):
            directions = normalised(vectors[others, : self.directions.shape[1]])
            near = nearest(directions, self.directions, min(_BESIDE, len(self.rows)))
            places[others] = self.places[near].mean(axis=1)
        return places


class Pace:
    """Rests after each piece of work for some times as long as that took.

    Args:
        times: How many.
    """

    def __init__(self, times: float) -> None:
        self._times, self._since = times, time.perf_counter()

    def __call__(self) -> None:
        """Rest now."""
        time.sleep(self._times * (time.perf_counter() - self._since))
        self._since = time.perf_counter()


def draw(bundle: Bundle, most: int = MOST, rest: Callable[[], None] = no_rest) -> Map:
    """Return the map of a bundle's most watched videos; some seconds of a core for 5,000.

    Args:
        bundle: Whose.
        most: How many are drawn.
        rest: Called some milliseconds of work apart, to leave the core to others.
    """
    counts = np.bincount(np.asarray(bundle.positives.video_row), minlength=len(bundle.vectors))[FIRST_ROW:]
    rows = np.sort(np.argsort(-counts, kind="stable")[:most]) + FIRST_ROW
    # Popularity stands behind the towers' own numbers and says nothing of likeness.
    vectors = np.ascontiguousarray(bundle.vectors[rows][:, : bundle.tower_arrays.content])
    feature, values, codes = _coloured(bundle, rows)
    return Map(rows, flattened(vectors, rest=rest), feature, values, codes, normalised(vectors))


def _coloured(bundle: Bundle, rows: Int64[np.ndarray, " n"]) -> tuple[str, list[str], Int64[np.ndarray, " n"]]:
    """Return the first of the telling features that a few values mostly fill, these values, and each video's code."""
    kinds = {encoder.name: encoder.kind for encoder in bundle.tower_arrays.encoders.videos}
    names = [name for name, kind in kinds.items() if kind in {Kind.categorical, Kind.multi}]
    table = bundle.video_table()
    for name in dict.fromkeys([*telling(names), *names]):
        said = table[name].take(rows - FIRST_ROW).to_pylist()
        firsts = [(each[0] if each else None) if isinstance(each, list) else each for each in said]
        most = Counter(str(value) for value in firsts if value is not None).most_common(COLOURS)
        if len(most) > 1 and sum(count for _, count in most) >= _COVERED * len(rows):
            values = [value for value, _ in most]
            code = {value: place for place, value in enumerate(values)}
            return name, values, np.array([code.get(str(value), len(values)) for value in firsts], np.int64)
    return "", [], np.zeros(len(rows), np.int64)
