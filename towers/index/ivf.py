"""Approximate search: lists of near vectors, looked into as long as they promise anything better."""

import math
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.bits import Words
from towers.index.clusters import clustered, number_of_lists, weight_of
from towers.index.files import read_arrays, write_arrays
from towers.index.index import Index, Queries, Searcher
from towers.index.recall import to_form
from towers.index.request import Request
from towers.index.searcher import BLOCK, FEW, BlockSearcher, Code, Look, code_of, part
from towers.kinds import check_kinds
from towers.types import ConfigError, Geometry

if TYPE_CHECKING:
    from towers.index.lists import Lists
    from towers.index.look import Stock
    from towers.index.probing import Effort

_FURTHER = 0.25
"""By how much more a list must promise, for each tenth part that a filter leaves: what it leaves of a list may lie on
its rim, far from its mean."""


class IvfSearcher(BlockSearcher):
    """Looks into the lists that promise a query the most; what it finds there is scored exactly.

    Attributes:
        nlist: How many lists there are.
        nprobe: How many a search looks into; 0 leaves it to what they promise.
        reach: By how many standard deviations a list's best is supposed to be better than its mean.
    """

    kind: ClassVar[str] = "ivf"
    exact: ClassVar[bool] = False

    def __init__(self, stock: "Stock", lists: "Lists", geometry: Geometry, nprobe: int, reach: float) -> None:
        super().__init__(stock, geometry)
        self._lists, self.nprobe, self.reach = lists, nprobe, reach

    @property
    def nlist(self) -> int:
        """How many lists there are."""
        return len(self._lists.begins) - 1

    @property
    def lists(self) -> "Lists":
        """What the lists promise."""
        return self._lists

    def reaching(self, reach: float) -> "IvfSearcher":
        """Return this searcher with another reach; all else is shared."""
        other = copy(self)
        other.__dict__.pop("_look", None)
        other.reach, other._filters = reach, WeakKeyDictionary()
        return other

    @classmethod
    def load(cls, folder: Path, header: dict[str, Any]) -> Searcher:
        """Read what save wrote; vectors and bytes stay on disk and are mapped."""
        from towers.index.lists import Lists

        stock = cls.read_stock(folder)
        even = np.eye(stock.blocks.vectors.shape[1], dtype=np.float32)
        # Lists of formats before 4 were formed by direction alone.
        lists = read_arrays(folder / "lists", Lists, **({"weight": even} if header["format"] < 4 else {}))
        searcher = cls(stock, lists, Geometry(header["geometry"]), header["nprobe"], header["reach"])
        searcher.why = header["why"]
        return searcher

    def refilled(self, vectors: Float32[np.ndarray, "m d"], ids: Int64[np.ndarray, " m"]) -> "IvfSearcher":
        """Return a searcher of what this one holds and more, in the same lists, whose means are anew.

        What is here stays in its list; each new vector goes where the mean is nearest.

        Args:
            vectors: What is new, [m, d].
            ids: What to call it, none of them here, [m].
        """
        from towers.index.codes import gathered
        from towers.index.instructions import SLOTS
        from towers.index.lists import nearest_lists

        slots = self.slots
        here = np.searchsorted(self._lists.begins, slots // SLOTS, side="right") - 1
        both = gathered(self._stock.blocks.vectors, slots, vectors)
        names = np.concatenate([self._stock.blocks.ids[slots], ids])
        assigned = np.concatenate([here, nearest_lists(self._lists, vectors)])
        found = in_lists(both, names, assigned, self.nlist, self._lists.weight)
        other = IvfSearcher(*found, self.geometry, self.nprobe, self.reach)
        other.why = self.why
        return other

    def _save(self, _folder: Path) -> dict[str, Any]:
        write_arrays(_folder / "lists", self._lists)
        return super()._save(_folder) | {"nprobe": self.nprobe, "reach": self.reach}

    @cached_property
    def _look(self) -> Look:
        """What answers a request."""
        return self._looking_into(self._lists, self.reach)

    @cached_property
    def _in_lists(self) -> Code:
        from towers.index.probing import look_in_lists

        return code_of(look_in_lists, self._stock, self._lists, self._effort(self.reach))

    def _effort(self, reach: float) -> "Effort":
        from towers.index.probing import Effort

        few = 0 < self.nprobe < self.nlist
        return Effort(self.nprobe if few else self.nlist, float(reach), self.nprobe == 0)

    def _looking_into(self, lists: "Lists", reach: float) -> Look:
        """Return what looks into lists; where those looked into do not fill an answer, into all others."""
        effort, stock = self._effort(reach), self._stock
        in_lists, everywhere, few = self._in_lists, self._everywhere, effort.probes < self.nlist

        def look(request: Request) -> None:
            in_lists(stock, request, lists, effort)
            for row in np.flatnonzero(request.ids[:, -1] < 0) if few else ():
                everywhere(stock, part(request, slice(row, row + 1)))

        return look

    def _among(self, may: Words, slots: int, blocks: int) -> Look:
        """Return what looks into the lists that hold any of these slots, or at all of these where they are few."""
        from towers.index.lists import holding

        if min(slots, BLOCK * blocks) <= max(FEW, self.nlist):
            return super()._among(may, slots, blocks)
        alive = holding(self._lists.begins, may, self._lists.centers.alive)
        lists = self._lists._replace(centers=self._lists.centers._replace(alive=alive))
        return self._looking_into(lists, self.reach + _FURTHER * math.log10(len(self) / slots))


@dataclass(kw_only=True)
class Ivf(Index):
    """Lists of near vectors, of which a search looks into those that promise the most; for large catalogues.

    A list promises a query its mean's score and some standard deviations of its vectors' scores more. The best are
    looked into first, until none promises anything better than the k-th best that has been found: so a user among
    many alike videos costs little, one between all clusters more, and a filter that hides the nearest makes the
    search go on by itself. Built with vectors of users, it divides the videos by what those tell apart instead of by
    direction: where users stand far to one side of all videos, a search then reads a third or less.

    Attributes:
        nlist: How many lists; 0 takes 4 √n, but leaves each list 39 vectors or more.
        nprobe: How many lists a search looks into; 0 leaves it to what they promise. nprobe = nlist looks at all.
        reach: How many standard deviations a list's best is supposed to be above its mean, where nprobe is 0; more
            find more and take longer: from .95 to .99 at 2.5, by how the vectors lie; `auto` measures.

    Source:
        Lists: Sivic and Zisserman 2003, Video Google; what divides them: see clusters.weight_of. Stopping by the
        distance of the next list: Chen et al. 2021, SPANN, section 3.3, here by the k-th best so far instead of the
        nearest list.

    Example:
        >>> vectors = np.eye(8, dtype=np.float32)
        >>> Ivf(nlist=2).build(vectors, np.arange(8), Geometry.cosine).search(vectors[5:6], 1).ids.tolist()
        [[5]]
    """

    nlist: int = 0
    nprobe: int = 0
    reach: float = 2.5

    def __post_init__(self) -> None:
        check_kinds(self, "index.")
        if self.nlist < 0 or self.nprobe < 0:
            raise ConfigError(
                f"index.nlist is {self.nlist} and index.nprobe {self.nprobe}; "
                "nlist must be 0 (4 √n lists) or more, nprobe 0 (as many as promise anything) or more"
            )
        if not 0 < self.reach <= 100:
            raise ConfigError(f"index.reach is {self.reach}; give standard deviations above 0, at most 100, as in 2.5")

    def _build(
        self, vectors: Float32[np.ndarray, "n d"], ids: Int64[np.ndarray, " n"], geometry: Geometry, _queries: Queries
    ) -> Searcher:
        count = number_of_lists(self.nlist, len(vectors))
        weight = None if _queries is None else weight_of(to_form(_queries))
        assigned = clustered(vectors, count, geometry, weight)
        return IvfSearcher(*in_lists(vectors, ids, assigned, count, weight), geometry, self.nprobe, self.reach)


def in_lists(
    vectors: Float32[np.ndarray, "n d"],
    ids: Int64[np.ndarray, " n"],
    assigned: Int64[np.ndarray, " n"],
    count: int,
    weight: Float32[np.ndarray, "d d"] | None = None,
) -> tuple["Stock", "Lists"]:
    """Return vectors laid out list after list, and what the lists promise, from the list that each belongs to."""
    from towers.index.lists import lists_of, slots_in_lists
    from towers.index.look import stock_of

    slots, begins = slots_in_lists(assigned, count)
    return stock_of(vectors, ids, slots), lists_of(vectors, assigned, begins, weight)
