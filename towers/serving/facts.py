"""What a bundle says about its videos, in the columns and the words that tell a person most."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

TELLING = ("title", "tag", "categor", "genre", "author", "duration")
"""Words in the names of the columns that tell a person most about a video."""
OTHERS = 3
"""How many columns are shown where none has such a name."""
IN_MILLISECONDS = ("video_duration",)
"""Columns of KuaiRand whose names do not say their unit."""
NOTHING = "–"
"""What stands where nothing is known."""


class Facts:
    """Says what is known about videos.

    Args:
        videos: A bundle's table, in row order.

    Attributes:
        names: Of the telling columns.

    Example:
        >>> facts = Facts(pa.table({"video_id": [7, 8], "tag": [["a", "b"], None], "duration_ms": [1500, 90]}))
        >>> facts.names, facts.of(np.array([1, 0]))
        (['tag', 'duration_ms'], [['–', '0.1 s'], ['a, b', '1.5 s']])
    """

    def __init__(self, videos: pa.Table) -> None:
        self.names = telling([name for name in videos.column_names if name not in {"video_row", "video_id", "known"}])
        self._table = videos.select(self.names)

    def of(self, places: Int64[np.ndarray, " n"]) -> list[list[str]]:
        """Return what the columns say at each place of the table, as text, [n]."""
        columns = [
            [as_text(name, value) for value in self._table[name].take(places).to_pylist()] for name in self.names
        ]
        return [list(row) for row in zip(*columns, strict=True)] if columns else [[] for _ in places]


def telling(names: Sequence[str]) -> list[str]:
    """Return the columns to show, most telling first.

    Example:
        >>> telling(["width", "author_id", "tags"]), telling(["a", "b", "c", "d"])
        (['tags', 'author_id'], ['a', 'b', 'c'])
    """
    found = dict.fromkeys(name for word in TELLING for name in names if word in name)
    return list(found)[: len(TELLING)] or list(names[:OTHERS])


def as_text(name: str, value: object) -> str:
    """Return a column's value as a person would write it.

    Example:
        >>> as_text("video_duration", 13900.0), as_text("tags", ["a", "b"]), as_text("width", None)
        ('13.9 s', 'a, b', '–')
    """
    if value is None:
        return NOTHING
    if isinstance(value, list):
        return ", ".join(str(part) for part in value)
    if isinstance(value, int | float) and (name.endswith("_ms") or name in IN_MILLISECONDS):
        return f"{value / 1000:.1f} s"
    return f"{value:.10g}" if isinstance(value, float) else str(value)
