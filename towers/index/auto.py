"""The choice between exact and approximate search."""

import logging
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.exact import Exact
from towers.index.index import Index, Searcher
from towers.index.ivf import Ivf
from towers.types import ConfigError, Geometry

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Auto(Index):
    """Exact search for small catalogues, inverted lists for large ones; the searcher's `why` says which.

    Attributes:
        exact_below: Up to this many videos the search is exact.
        reach: How far the approximate search goes, see Ivf.
    """

    exact_below: int = 50_000
    reach: float = 2.5

    def __post_init__(self) -> None:
        if self.exact_below < 0:
            raise ConfigError(f"index.exact_below is {self.exact_below}; give 0 (never exact) or a number of videos")
        Ivf(reach=self.reach)

    def _build(self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry) -> Searcher:
        small = len(vectors) <= self.exact_below
        index = Exact() if small else Ivf(reach=self.reach)
        searcher = index.build(vectors, ids, geometry)
        searcher.why = (
            f"{searcher.kind}: {len(vectors)} videos are {'at most' if small else 'more than'} "
            f"index.exact_below={self.exact_below}"
        )
        _log.info("Index %s", searcher.why)
        return searcher
