"""Exact search over every vector."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.device import DEVICES, on_gpu, without_excluded
from towers.index.index import Allow, Ids, Index, Queries, Searcher
from towers.index.searcher import BlockSearcher
from towers.kinds import check_kinds
from towers.types import ConfigError, Geometry, Hits

if TYPE_CHECKING:
    from towers.index.look import Stock


class ExactSearcher(BlockSearcher):
    """Looks at every vector; the reference for every other kind.

    Attributes:
        device: Where it was asked to search, see Exact.
    """

    kind: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True

    def __init__(self, stock: "Stock", geometry: Geometry, why: str = "", device: str = "cpu") -> None:
        super().__init__(stock, geometry, why)
        self.device, self._best = device, on_gpu(device, stock.blocks.vectors[: len(self)])

    @classmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> Searcher:
        """Read what save wrote; the vectors stay on disk and are mapped."""
        stock, geometry = cls.read_stock(folder), Geometry(header["geometry"])
        try:
            return cls(stock, geometry, header["why"], header.get("device", "cpu"))
        except ConfigError as error:
            raise ConfigError(f"{folder}: {error}; or publish or save it again with index.device=auto") from error

    @classmethod
    def over(cls, searcher: BlockSearcher) -> "ExactSearcher":
        """Return an exact searcher of what another one holds, which shares its vectors: its referee."""
        exact = cls(searcher.stock, searcher.geometry, searcher.why)
        exact._alive, exact._n, exact._bits = searcher._alive, len(searcher), searcher._bits
        return exact

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None) -> Hits:
        # A GPU knows neither what alone is allowed nor what was removed since it got the vectors.
        if self._best is None or allow is not None or self._alive is not self._stock.blocks.alive:
            return super()._find(queries, k, exclude, allow)
        return without_excluded(self._best, self.ids, queries, k, exclude)

    def _save(self, _folder: Path) -> dict[str, Any]:
        return super()._save(_folder) | {"device": self.device}


@dataclass(kw_only=True)
class Exact(Index):
    """All vectors are looked at, as bytes, and scored in float32 wherever bytes leave a doubt: no recall is lost.

    Right up to some hundreds of thousands of videos on a processor, some millions on a GPU; the referee for every
    other kind.

    Attributes:
        device: Where searches run: cpu; cuda, a GPU, without which the index is neither built nor opened; or auto, a
            GPU where there is one. Searches with an allow-list, and what a live index is left of, run on the processor.

    Example:
        >>> vectors = np.array([[1, 0], [0, 1]], np.float32)
        >>> searcher = Exact().build(vectors, np.array([70, 80]), Geometry.cosine)
        >>> searcher.search(vectors, 2, exclude=[np.array([70]), np.array([], int)]).ids.tolist()
        [[80, -1], [80, 70]]
    """

    device: str = "cpu"

    def __post_init__(self) -> None:
        check_kinds(self, "index.")
        if self.device not in DEVICES:
            raise ConfigError(f"index.device is {self.device!r}; expected {', '.join(DEVICES[:-1])} or {DEVICES[-1]}")

    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        from towers.index.look import stock_of

        return ExactSearcher(stock_of(vectors, ids), geometry, device=self.device)
