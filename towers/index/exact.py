"""Exact search over every vector."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.index import Index, Queries, Searcher
from towers.index.searcher import BlockSearcher
from towers.types import Geometry


class ExactSearcher(BlockSearcher):
    """Looks at every vector; the reference for every other kind."""

    kind: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True

    @classmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> Searcher:
        """Read what save wrote; the vectors stay on disk and are mapped."""
        return cls(cls.read_stock(folder), Geometry(header["geometry"]), header["why"])

    @classmethod
    def over(cls, searcher: BlockSearcher) -> "ExactSearcher":
        """Return an exact searcher of what another one holds, which shares its vectors: its referee."""
        exact = cls(searcher.stock, searcher.geometry, searcher.why)
        exact._alive, exact._n = searcher._alive, len(searcher)
        return exact


@dataclass(kw_only=True)
class Exact(Index):
    """All vectors are looked at, as bytes, and scored in float32 wherever bytes leave a doubt: no recall is lost.

    Right up to some hundreds of thousands of videos; the referee for every other kind.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1]], np.float32)
        >>> searcher = Exact().build(vectors, np.array([70, 80]), Geometry.cosine)
        >>> searcher.search(vectors, 2, exclude=[np.array([70]), np.array([], int)]).ids.tolist()
        [[80, -1], [80, 70]]
    """

    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        from towers.index.look import stock_of

        return ExactSearcher(stock_of(vectors, ids), geometry)
