"""What the searchers of our own share: blocks of bytes, filters, threads and files."""

import json
from collections.abc import Callable
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int64, UInt16

from towers.index.files import read_arrays, write_arrays
from towers.index.index import Ids, Searcher
from towers.index.threads import share
from towers.types import DataError, Geometry, Hits

if TYPE_CHECKING:
    from towers.index.look import Request, Stock

Look = Callable[["Request"], None]
"""What answers a request, by writing its ids and scores."""
_FEW = 2048
_FEW_OF = 64
_DENSE = 8
_NONE = np.zeros(0, np.int64)


class BlockSearcher(Searcher):
    """Searches blocks of vectors as bytes; see Stock.

    Numba, which makes its machine code, is loaded with the first index that is built or read.
    """

    def __init__(self, stock: "Stock", geometry: Geometry, why: str = "") -> None:
        super().__init__(geometry, why)
        self._stock, self._alive = stock, stock.blocks.alive
        self._n = int(np.bitwise_count(stock.blocks.alive).sum())

    def __len__(self) -> int:
        return self._n

    @cached_property
    def ids(self) -> Int64[np.ndarray, " n"]:
        """What the caller calls the vectors, rising, [n]."""
        return np.sort(self._stock.blocks.ids[self.slots])

    @property
    def slots(self) -> Int64[np.ndarray, " n"]:
        """Where the vectors are in the stock, rising, [n]."""
        return np.flatnonzero(np.unpackbits(self._alive.view(np.uint8), bitorder="little"))

    @property
    def stock(self) -> "Stock":
        """What is searched."""
        return self._stock

    def without(self, ids: Int64[np.ndarray, " m"]) -> "BlockSearcher":
        """Return this searcher less some ids, those that it lacks left out; all but a bit for each vector is shared."""
        from towers.index.codes import clear_bits
        from towers.index.places import slots_of

        slots = slots_of(self._stock.places, self._stock.blocks.ids, ids)
        if (slots < 0).all():
            return self
        other = copy(self)
        other.__dict__.pop("ids", None)
        other._alive = self._alive.copy()
        other._n -= clear_bits(other._alive, slots)
        return other

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return int(self._stock.blocks.vectors.shape[1])

    @cached_property
    def longest(self) -> float:
        """The length of the longest vector."""
        return float(self._stock.frame.most[2])

    @cached_property
    def _look(self) -> Look:
        """What answers a request."""
        from towers.index.look import look_everywhere

        return ready(look_everywhere, self._stock)

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: np.ndarray | None) -> Hits:
        look, may = (self._look, self._alive) if allow is None else self._allowing(allow)
        return answered(look, queries, k, exclude, (may, len(self)))

    def _allowing(self, allow: np.ndarray) -> tuple[Look, np.ndarray]:
        """Return what answers requests when only some ids may be returned, and the bits of these."""
        from towers.index.block import SLOTS
        from towers.index.codes import set_bits
        from towers.index.look import look_at
        from towers.index.places import bits_of, slots_of

        blocks, allowed = self._stock.blocks, np.array(allow, np.int64)
        if len(allowed) <= max(_FEW, len(self) // _FEW_OF):
            slots = np.unique(slots_of(self._stock.places, blocks.ids, allowed))
            slots = slots[slots >= 0]
            slots = slots[self._alive[slots // SLOTS] >> (slots % SLOTS) & 1 > 0]
            return lambda request: look_at(self._stock, slots, request), self._alive
        if int(allowed.max()) - int(allowed.min()) < _DENSE * len(self):
            return self._look, bits_of(blocks.ids, allowed) & self._alive
        may = np.zeros_like(self._alive)
        slots = slots_of(self._stock.places, blocks.ids, allowed)
        set_bits(may, slots[slots >= 0])
        return self._look, may & self._alive

    @staticmethod
    def read_stock(folder: Path) -> "Stock":
        """Return the stock that was saved into a folder, mapped; format 2 looked for ids in other places."""
        from towers.index.look import Stock
        from towers.index.places import places_of

        stock: Stock = read_arrays(folder / "stock", Stock)
        if json.loads((folder / "index.json").read_text(encoding="utf-8"))["format"] > 2:
            return stock
        ids = stock.blocks.ids
        return stock._replace(places=places_of(ids, np.flatnonzero(ids >= 0)))

    def _save(self, _folder: Path) -> dict[str, Any]:
        if self._alive is not self._stock.blocks.alive:
            raise DataError(f"{len(self)} vectors are left of what an index held; build one of these, and save that")
        write_arrays(_folder / "stock", self._stock)
        return {}


def answered(
    look: Look,
    queries: Float32[np.ndarray, "q d"],
    k: int,
    exclude: Ids | None,
    may: tuple[UInt16[np.ndarray, " blocks"], int],
) -> Hits:
    """Return what a look finds, on several threads where there are several queries.

    Args:
        look: What answers a request.
        queries: What to search for, [q, d].
        k: How many hits each gets; slots beyond what exists hold -1 and -inf.
        exclude: For each query the ids that it must not be given.
        may: The bits of the slots that may be returned, and how many vectors there are at most.
    """
    from towers.index.look import Request

    q, most = len(queries), min(k, may[1])
    ids, scores = np.empty((q, most), np.int64), np.empty((q, most), np.float32)
    if ids.size:
        offsets, excluded = _flat(exclude, q)
        whole = Request(np.ascontiguousarray(queries, np.float32), may[0], offsets, excluded, ids, scores)
        if q == 1:
            look(whole)
        else:
            share(lambda rows: look(part(whole, rows)), q)
    if most < k:
        ids = np.pad(ids, ((0, 0), (0, k - most)), constant_values=-1)
        scores = np.pad(scores, ((0, 0), (0, k - most)), constant_values=-np.inf)
    return Hits(ids, scores)


def ready(kernel: Any, stock: "Stock", *more: Any) -> Look:  # noqa: ANN401
    """Return the machine code of a search of a stock."""
    from towers.compiled import entry
    from towers.index.look import Request

    some = np.zeros((1, stock.blocks.vectors.shape[1]), np.float32)
    example = Request(some, stock.blocks.alive, np.zeros(2, np.int64), _NONE, np.zeros((1, 1), np.int64), some)
    code = entry(kernel, stock, example, *more)
    return lambda request: code(stock, request, *more)


def part(request: "Request", rows: slice) -> "Request":
    """Return some queries of a request, and where their answers belong."""
    return request._replace(
        queries=request.queries[rows],
        offsets=request.offsets[rows.start : rows.stop + 1],
        ids=request.ids[rows],
        scores=request.scores[rows],
    )


def _flat(exclude: Ids | None, q: int) -> tuple[Int64[np.ndarray, " q_1"], Int64[np.ndarray, " m"]]:
    """Return excluded ids, all queries one after the other, and where each query's begin."""
    if exclude is None:
        return np.zeros(q + 1, np.int64), _NONE
    if q == 1:
        only = np.ascontiguousarray(exclude[0], np.int64)
        return np.array((0, len(only))), only
    offsets = np.zeros(q + 1, np.int64)
    np.cumsum([len(ids) for ids in exclude], out=offsets[1:])
    # An empty list is one of floats, and would round all ids beyond 2^53.
    return offsets, np.concatenate([_NONE, *(np.asarray(ids, np.int64) for ids in exclude)])
