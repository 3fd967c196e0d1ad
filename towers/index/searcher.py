"""What the searchers of our own share: blocks of bytes, filters, threads and files."""

import json
from collections.abc import Callable
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Float32, Int64, UInt16

from towers.index.bits import Bits, Places, Words, as_words
from towers.index.files import read_arrays, write_arrays
from towers.index.index import Allow, Ids, Searcher
from towers.index.mask import Mask
from towers.index.request import Request
from towers.index.threads import share
from towers.types import DataError, Geometry, Hits

if TYPE_CHECKING:
    from towers.index.look import Stock

Code = Callable[..., None]
"""Machine code of a search: of a stock, a request, and whatever more it takes."""
Look = Callable[[Request], None]
"""What answers a request, by writing its ids and scores."""
FEW = 2048
"""So many vectors are looked at one by one, whatever their number."""
BLOCK = 3
"""To look at a block's 16 vectors as bytes takes as long as at so many one by one."""
_DENSE = 8
_LONG_OF = 1024
_NONE = np.zeros(0, np.int64)


class Filter(NamedTuple):
    """What answers when only some vectors may be returned.

    Attributes:
        look: Answers a request.
        may: 16 bits to a block, set where a slot may be returned, [blocks].
        n: How many vectors these are, at most.
    """

    look: Look
    may: Words
    n: int


class BlockSearcher(Searcher):
    """Searches blocks of vectors as bytes; see Stock.

    Numba, which makes its machine code, is loaded with the first index that is built or read.
    """

    def __init__(self, stock: "Stock", geometry: Geometry, why: str = "") -> None:
        super().__init__(geometry, why)
        self._stock, self._alive = stock, stock.blocks.alive
        self._bits, self._filters = Bits(where(stock), len(stock.blocks.alive)), WeakKeyDictionary[Mask, Filter]()
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
        other._alive, other._filters = self._alive.copy(), WeakKeyDictionary()
        other._n -= clear_bits(other._alive, slots)
        return other

    @cached_property
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
        everywhere, stock = self._everywhere, self._stock  # not self, which would keep itself alive
        return lambda request: everywhere(stock, request)

    @cached_property
    def _everywhere(self) -> Code:
        from towers.index.look import look_everywhere

        return code_of(look_everywhere, self._stock)

    @cached_property
    def _at(self) -> Code:
        from towers.index.look import look_at

        return code_of(look_at, self._stock, np.zeros(0, np.int32))

    @cached_property
    def _without(self) -> Callable[..., Words]:
        from towers.compiled import entry
        from towers.index.codes import without_ids

        return entry(without_ids, self._alive, self._stock.places, self._stock.blocks.ids, _NONE)

    def masks(self) -> list[Mask]:
        """Return the masks of ids that it was asked with, and that still live."""
        return self._bits.masks()

    def _find(self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None) -> Hits:
        look, may, n = self._filter(allow)
        if exclude is not None and _is_one_long_list(exclude, len(self)):
            may, exclude = self._less(may, exclude[0]), None
        return answered(look, queries, k, exclude, (may, n))

    def _filter(self, allow: Allow | None) -> Filter:
        """Return what answers when only some ids may be returned; of a mask it is remembered."""
        if allow is None:
            return Filter(self._look, self._alive, len(self))
        if not isinstance(allow, Mask):
            return self._of(self._bits.of_ids(np.array(allow, np.int64)))
        known = self._filters.get(allow)
        if known is None:
            known = self._filters[allow] = self._of(self._bits.of(allow))
        return known

    def _of(self, found: Words | Places) -> Filter:
        """Return what answers when only what was found may be returned."""
        from towers.index.codes import narrowed

        if found.dtype == np.int32 and len(found) <= FEW:
            return Filter(self._looking_at(found), self._alive, len(found))
        may, slots, blocks = narrowed(as_words(found, len(self._alive)), self._alive)
        return Filter(self._among(may, slots, blocks), may, slots)

    def _among(self, may: Words, slots: int, blocks: int) -> Look:
        """Return what looks at all of these slots: as bytes, or where few stand together, one by one."""
        from towers.index.codes import blocks_in, slots_in

        if slots < BLOCK * blocks:
            return self._looking_at(slots_in(may, slots))
        some = self._stock._replace(order=blocks_in(may, blocks))
        everywhere = self._everywhere  # not self: what is remembered of masks would keep the searcher alive
        return lambda request: everywhere(some, request)

    def _looking_at(self, slots: Places) -> Look:
        at, stock = self._at, self._stock
        return lambda request: at(stock, request, slots)

    def _less(self, may: Words, ids: Int64[np.ndarray, " m"]) -> Words:
        """Return bits less those of some ids."""
        ids = np.ascontiguousarray(ids, np.int64)
        if _DENSE * len(ids) > len(self._stock.blocks.ids):
            return may & ~as_words(self._bits.of_ids(ids), len(may))
        return self._without(may, self._stock.places, self._stock.blocks.ids, ids)

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
    q, most = len(queries), min(k, may[1])
    ids, scores = np.empty((q, most), np.int64), np.empty((q, most), np.float32)
    if ids.size:
        offsets, excluded = _flat(exclude, q)
        whole = Request(np.ascontiguousarray(queries, np.float32), may[0], offsets, excluded, ids, scores)
        if q == 1:
            look(whole)
        else:
            share(lambda rows: look(part(whole, rows)), q)
    if most == k:
        return Hits(ids, scores)
    wide = Hits(np.full((q, k), -1), np.full((q, k), -np.inf, np.float32))
    wide.ids[:, :most], wide.scores[:, :most] = ids, scores
    return wide


def code_of(kernel: Any, stock: "Stock", *more: Any) -> Code:  # noqa: ANN401
    """Return the machine code of a search.

    Args:
        kernel: The search.
        stock: What is searched, or what has arrays of the same types.
        more: What follows stock and request, or what is of the same types.
    """
    from towers.compiled import entry

    some = np.zeros((1, stock.blocks.vectors.shape[1]), np.float32)
    example = Request(some, stock.blocks.alive, np.zeros(2, np.int64), _NONE, np.zeros((1, 1), np.int64), some)
    code: Code = entry(kernel, stock, example, *more)
    return code


def where(stock: "Stock") -> Callable[[Int64[np.ndarray, " m"]], Words | Places]:
    """Return what finds ids in a stock: as places, or where they are many of no wide range, as words."""
    from towers.index.places import bits_of, slots_of

    places, ids = stock.places, stock.blocks.ids

    def find(wanted: Int64[np.ndarray, " m"]) -> Words | Places:
        dense = _DENSE * len(wanted) > len(ids)
        if dense and int(wanted.max()) - int(wanted.min()) < _DENSE * len(ids):
            return bits_of(ids, wanted)
        return slots_of(places, ids, wanted)

    return find


def _is_one_long_list(exclude: Ids, n: int) -> bool:
    """Return whether all queries must not be given the same ids, so many that bits cost less than a table."""
    return len(exclude) > 0 and _LONG_OF * len(exclude[0]) > n and all(each is exclude[0] for each in exclude)


def part(request: Request, rows: slice) -> Request:
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
