"""What came since the main part was built: vectors in blocks that one writer appends to while others search them."""

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.index.index import Allow, Ids
from towers.index.live.named import Named
from towers.index.mask import Mask
from towers.index.request import Request
from towers.index.searcher import answered
from towers.types import Hits

if TYPE_CHECKING:
    from towers.index.codes import Frame
    from towers.index.look import Stock

_SMALLEST = 256


@dataclass(frozen=True, slots=True)
class Recent:
    """One moment of the recent vectors; later moments share its arrays and write only where it does not look.

    A vector that comes is written into a slot that no moment has used, and a vector that goes keeps its slot: what
    differs between moments is `alive`, a bit for each slot, of which each has its own. Only the latest may be
    written to, by one thread; when its slots are used up, the vectors move to arrays twice as large as they need.

    Attributes:
        stock: Blocks, of which those in its order are used.
        before: For each slot the one that held the same id before it, or -1, [slots].
        alive: 16 bits to a block, set where a vector may be found, [blocks].
        named: Which of the slots masks hold.
        used: How many slots are used.
        n: How many vectors there are.
    """

    stock: "Stock"
    before: Int32[np.ndarray, " slots"]
    alive: UInt16[np.ndarray, " blocks"]
    named: Named
    used: int
    n: int

    @classmethod
    def empty(cls, frame: "Frame", slots: int = _SMALLEST) -> "Recent":
        """Return a moment without vectors, with room for some; their bytes are taken by a frame."""
        from towers.index.codes import empty_blocks
        from towers.index.look import Stock
        from towers.index.places import places_of

        blocks = empty_blocks(slots, len(frame.center))
        # The frame of no vectors has steps of 0.
        frame = frame._replace(step=np.where(frame.step > 0, frame.step, np.float32(1)), most=np.zeros(3))
        places, named = places_of(blocks.ids, np.zeros(0, np.int64)), Named(blocks.ids, len(blocks.alive))
        stock = Stock(blocks, frame, places, np.zeros(0, np.int32))
        return cls(stock, np.full(len(blocks.ids), -1, np.int32), np.zeros_like(blocks.alive), named, 0, 0)

    def __len__(self) -> int:
        return self.n

    @property
    def longest(self) -> float:
        """At least the length of the longest vector."""
        return float(self.stock.frame.most[2])

    def slots(self) -> Int64[np.ndarray, " n"]:
        """Return where the vectors are, rising, [n]."""
        return np.flatnonzero(np.unpackbits(self.alive.view(np.uint8), bitorder="little"))

    def put(self, vectors: Float32[np.ndarray, "m d"], ids: Int64[np.ndarray, " m"]) -> "Recent":
        """Return the moment in which vectors have come, or replaced those of their ids."""
        from towers.index.live.slots import lay, link

        if self.used + len(ids) > len(self.before):
            return self._moved(len(ids)).put(vectors, ids)
        alive, used = self.alive.copy(), self.used + len(ids)
        gone = lay(self.stock, self.before, alive, (self.used, vectors, ids))
        # Two calls: readers that find a slot by its id must find it written.
        link(self.stock.places, self.stock.blocks.ids, self.used, used)
        blocks = -(-used // (len(self.before) // len(alive)))
        stock = self.stock._replace(order=np.arange(blocks, dtype=np.int32))
        return replace(self, stock=stock, alive=alive, used=used, n=self.n + len(ids) - gone)

    def without(self, ids: Int64[np.ndarray, " m"]) -> "Recent":
        """Return the moment in which some ids have gone, those that it lacks left out."""
        from towers.index.codes import clear_bits

        slots = self._slots_of(ids)
        if (slots < 0).all():
            return self
        alive = self.alive.copy()
        return replace(self, alive=alive, n=self.n - clear_bits(alive, slots))

    def find(
        self,
        queries: Float32[np.ndarray, "q d"],
        k: int,
        exclude: Ids | None,
        allow: Allow | None,
    ) -> Hits:
        """Return the true best k of every query; see Searcher.search."""
        from towers.index.codes import set_bits

        may = self.alive
        if isinstance(allow, Mask):
            may = self.named.of(allow, self.used) & may
        elif allow is not None:
            slots = self._slots_of(np.array(allow, np.int64))
            may = np.zeros_like(may)
            set_bits(may, slots[slots >= 0])
        code, known = _machine_code(), np.int64(self.used)
        return answered(
            lambda request: code(self.stock, request, self.before, known), queries, k, exclude, (may, self.n)
        )

    def _slots_of(self, ids: Int64[np.ndarray, " m"]) -> Int32[np.ndarray, " m"]:
        from towers.index.live.slots import alive_slots

        return alive_slots(self.stock, self.before, self.alive, self.used, ids)

    def _moved(self, more: int) -> "Recent":
        """Return the same vectors in new arrays, with room for as many again and more."""
        from towers.index.codes import frame_of

        slots = self.slots()
        vectors, ids = self.stock.blocks.vectors[slots], self.stock.blocks.ids[slots]
        frame = frame_of(vectors) if len(vectors) else self.stock.frame
        room = max(_SMALLEST, 2 ** (2 * (len(slots) + more) - 1).bit_length())
        return type(self).empty(frame, room).put(vectors, ids)


@cache
def _machine_code() -> Any:  # noqa: ANN401
    """Return the search of any recent vectors."""
    from towers.compiled import entry
    from towers.index.codes import frame_of
    from towers.index.live.slots import look_at_recent

    some = np.zeros((1, 4), np.float32)
    recent = Recent.empty(frame_of(some))
    ids, none = np.zeros((1, 1), np.int64), np.zeros(0, np.int64)
    request: Request = Request(some, recent.alive, np.zeros(2, np.int64), none, ids, some)
    return entry(look_at_recent, recent.stock, request, recent.before, np.int64(0))
