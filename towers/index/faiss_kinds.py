"""FAISS's own indexes, to be measured against ours and for whoever trusts them more."""

from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.clusters import lift, number_of_lists, padded
from towers.index.faiss_searcher import FaissSearcher
from towers.index.index import Index, Queries, Searcher
from towers.index.openmp import faiss
from towers.kinds import check_kinds
from towers.types import ConfigError, Geometry

_BITS = 4


@dataclass(kw_only=True)
class FaissIndex(Index):
    """What the kinds share."""

    kind: ClassVar[str]
    lifted: ClassVar[bool] = True
    """Whether vectors of dot geometry get the dimension that makes their lengths equal; see lift."""

    def __post_init__(self) -> None:
        check_kinds(self, "index.")
        lowest = {"nlist": 0, "factor": 1.0}
        for field in fields(self):
            value, least = getattr(self, field.name), lowest.get(field.name, 1)
            if value < least:
                raise ConfigError(f"index.{field.name} is {value}; it must be {least} or more")

    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        points = lift(vectors) if self.lifted and geometry is Geometry.dot else padded(vectors)
        codes = self._codes(*points.shape)
        if len(points):
            codes.train(points)
            codes.add(points)
        return FaissSearcher(self.kind, vectors, ids, geometry, codes, self._effort())

    @abstractmethod
    def _codes(self, n: int, dim: int) -> Any:  # noqa: ANN401
        """Return an index of FAISS that holds nothing yet, and will hold n vectors."""

    @abstractmethod
    def _effort(self) -> dict[str, int | float]:
        """Return how far a search goes; see FaissSearcher."""


@dataclass(kw_only=True)
class Hnsw(FaissIndex):
    """A graph of near vectors, over fp16 codes: slow to build, and no faster than lists on processors of today.

    In dot geometry vectors of high inner products are near: so the long ones, which most users are given, are near to
    all. Lifted, most vectors are alike but for the last digits, and the graph leads nowhere: of clusters with lengths
    that differ by a factor of e it finds .26 of the best 100 instead of .94.

    Attributes:
        degree: How many neighbours each vector has.
        ef_build: How many candidates are looked at for a vector's neighbours.
        ef: How many candidates a search looks at; more find more and take longer.
        factor: How many candidates are scored again for each that is asked for.

    Source:
        Malkov and Yashunin 2018, Efficient and robust approximate nearest neighbor search using hierarchical
        navigable small world graphs. Inner products as they are: Morozov and Babenko 2018, Non-metric similarity
        graphs for maximum inner product search.
    """

    kind: ClassVar[str] = "hnsw"
    lifted: ClassVar[bool] = False
    degree: int = 32
    ef_build: int = 80
    ef: int = 400
    factor: float = 1.25

    def _codes(self, _n: int, dim: int) -> Any:  # noqa: ANN401
        codes = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, self.degree, faiss.METRIC_INNER_PRODUCT)
        codes.hnsw.efConstruction = self.ef_build
        return codes

    def _effort(self) -> dict[str, int | float]:
        return {"wide": self.factor, "ef": self.ef}


@dataclass(kw_only=True)
class IvfFaiss(FaissIndex):
    """Inverted lists over fp16 codes.

    Attributes:
        nlist: How many lists; 0 takes 4 √n, but leaves each list 39 vectors or more.
        nprobe: How many lists a search looks into; more find more and take longer. nprobe = nlist looks at all.
    """

    kind: ClassVar[str] = "ivf_faiss"
    nlist: int = 0
    nprobe: int = 64

    def _codes(self, n: int, dim: int) -> Any:  # noqa: ANN401
        half = faiss.ScalarQuantizer.QT_fp16
        parts = (faiss.IndexFlatIP(dim), dim, number_of_lists(self.nlist, n), half, faiss.METRIC_INNER_PRODUCT, False)
        return _spherical(faiss.IndexIVFScalarQuantizer(*parts), *parts[:1])

    def _effort(self) -> dict[str, int | float]:
        return {"wide": 1.25, "nprobe": self.nprobe}


@dataclass(kw_only=True)
class IvfPq(FaissIndex):
    """Inverted lists over product codes of 4 bits for 2 dimensions: the least memory.

    Attributes:
        nlist: How many lists, as for IvfFaiss.
        nprobe: How many lists a search looks into.
        factor: How many candidates are scored again for each that is asked for; 8 or more for good recall.

    Source:
        André et al. 2017, Accelerated nearest neighbor search with Quick ADC.
    """

    kind: ClassVar[str] = "ivf_pq"
    nlist: int = 0
    nprobe: int = 64
    factor: float = 8.0

    def _codes(self, n: int, dim: int) -> Any:  # noqa: ANN401
        parts = (faiss.IndexFlatIP(dim), dim, number_of_lists(self.nlist, n), dim // 2, _BITS)
        codes = faiss.IndexIVFPQFastScan(*parts, faiss.METRIC_INNER_PRODUCT)
        return _spherical(codes, *parts[:1])

    def _effort(self) -> dict[str, int | float]:
        return {"wide": self.factor, "nprobe": self.nprobe}


@dataclass(kw_only=True)
class IvfRabitq(FaissIndex):
    """Inverted lists over codes of one bit a dimension.

    Attributes:
        nlist: How many lists, as for IvfFaiss.
        nprobe: How many lists a search looks into.
        factor: How many candidates are scored again for each that is asked for; 20 or more for good recall.

    Source:
        Gao and Long 2024, RaBitQ: quantizing high-dimensional vectors with a theoretical error bound.
    """

    kind: ClassVar[str] = "ivf_rabitq"
    nlist: int = 0
    nprobe: int = 64
    factor: float = 20.0

    def _codes(self, n: int, dim: int) -> Any:  # noqa: ANN401
        parts = (faiss.IndexFlatIP(dim), dim, number_of_lists(self.nlist, n))
        return _spherical(faiss.IndexIVFRaBitQ(*parts, faiss.METRIC_INNER_PRODUCT), *parts[:1])

    def _effort(self) -> dict[str, int | float]:
        return {"wide": self.factor, "nprobe": self.nprobe}


def _spherical(codes: Any, quantizer: Any) -> Any:  # noqa: ANN401
    """Return lists that are formed by direction, and that own what they are formed by."""
    codes.cp.spherical, codes.cp.min_points_per_centroid = True, 1
    quantizer.this.disown()
    codes.own_fields = True
    return codes
