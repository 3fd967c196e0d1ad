"""Vectors → Hits: exact search, approximate search, and the choice between them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from towers.index.auto import Auto
from towers.index.curve import Point, Wish
from towers.index.exact import Exact, ExactSearcher
from towers.index.faiss_kinds import Hnsw, IvfFaiss, IvfPq, IvfRabitq
from towers.index.faiss_searcher import FaissSearcher
from towers.index.index import FORMATS, Index, Searcher, check_k
from towers.index.ivf import Ivf, IvfSearcher
from towers.index.live import Health, Live, Recovered, Upkeep
from towers.index.mask import Mask
from towers.index.openmp import library
from towers.index.recall import measured_recall
from towers.lazy import names_of
from towers.types import DataError

if TYPE_CHECKING:
    from towers.index.in_torch import top_k

INDEXES: dict[str, type[Index]] = {
    "exact": Exact,
    "ivf": Ivf,
    "auto": Auto,
    **{kind.kind: kind for kind in (Hnsw, IvfFaiss, IvfPq, IvfRabitq)},
}
SEARCHERS: dict[str, type[Searcher]] = {
    "exact": ExactSearcher,
    "ivf": IvfSearcher,
    **{kind.kind: FaissSearcher for kind in (Hnsw, IvfFaiss, IvfPq, IvfRabitq)},
    "live": Live,
}

__getattr__ = names_of(__name__, {"in_torch": ("top_k",)})

__all__ = [
    "INDEXES",
    "SEARCHERS",
    "Auto",
    "Exact",
    "Health",
    "Hnsw",
    "Index",
    "Ivf",
    "IvfFaiss",
    "IvfPq",
    "IvfRabitq",
    "Live",
    "Mask",
    "Point",
    "Recovered",
    "Searcher",
    "Upkeep",
    "Wish",
    "check_k",
    "library",
    "load_index",
    "measured_recall",
    "top_k",
]


def load_index(folder: Path) -> Searcher:
    """Return the searcher that was saved into a folder.

    Raises:
        DataError: A folder that holds no index, or one of a kind that this version does not know.
    """
    header = folder / "index.json"
    if not header.is_file():
        raise DataError(f"{folder} holds no index: index.json is missing; publish the run again")
    content = json.loads(header.read_text(encoding="utf-8"))
    kind = content.get("kind")
    if kind not in SEARCHERS:
        raise DataError(f"{header} is of kind {kind!r}; this version reads {', '.join(SEARCHERS)}; publish again")
    if content.get("format") not in FORMATS:
        readable = f"{FORMATS[0]} to {FORMATS[-1]}"
        raise DataError(f"{header} has format {content.get('format')}; this version reads {readable}; publish again")
    return SEARCHERS[kind].load(folder, content)
