"""One moment of a live index: what a search sees from its begin to its end, whatever is written meanwhile."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.exact import ExactSearcher
from towers.index.index import Allow, Ids
from towers.index.live.journal import Change
from towers.index.live.recent import Recent
from towers.index.searcher import BlockSearcher
from towers.types import Hits

Videos = tuple[Float32[np.ndarray, "n d"], Int64[np.ndarray, " n"]]
"""Vectors and their ids."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A main part less what was removed or replaced, and what came since; an id is in one of the two at most.

    Attributes:
        main: The main part; its files never change, which of its vectors may be found is its own copy of bits.
        recent: What came since; searched exactly.
        built: How many vectors the main part was built of.
    """

    main: BlockSearcher
    recent: Recent
    built: int

    @classmethod
    def of(cls, main: BlockSearcher) -> "Moment":
        """Return the moment in which nothing has come yet."""
        return cls(main, Recent.empty(main.stock.frame), len(main))

    def __len__(self) -> int:
        return len(self.main) + len(self.recent)

    @property
    def longest(self) -> float:
        """At least the length of the longest vector."""
        return max(self.main.longest, self.recent.longest)

    @property
    def tombstones(self) -> int:
        """How many vectors of the main part may not be found any more."""
        return self.built - len(self.main)

    def ids(self) -> Int64[np.ndarray, " n"]:
        """Return all ids, rising, [n]."""
        return np.sort(np.concatenate([self.main.ids, self.recent.stock.blocks.ids[self.recent.slots()]]))

    def news(self) -> Videos:
        """Return what came since the main part was built."""
        slots, blocks = self.recent.slots(), self.recent.stock.blocks
        return blocks.vectors[slots], blocks.ids[slots]

    def contents(self) -> Videos:
        """Return everything."""
        from towers.index.codes import gathered

        vectors, ids = self.news()
        slots, blocks = self.main.slots, self.main.stock.blocks
        return gathered(blocks.vectors, slots, vectors), np.concatenate([blocks.ids[slots], ids])

    def after(self, change: Change) -> tuple["Moment", int]:
        """Return the moment after a change, and how many of its ids were there before it."""
        ids, vectors = change
        main, recent = self.main.without(ids), self.recent
        recent = recent.without(ids) if vectors is None else recent.put(vectors, ids)
        came = 0 if vectors is None else len(ids)
        return replace(self, main=main, recent=recent), len(self) + came - len(main) - len(recent)

    def find(
        self, queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None, allow: Allow | None = None
    ) -> Hits:
        """Return the best k of both parts; see Searcher.search."""
        if not len(self.recent):
            return self.main.search(queries, k, exclude, allow)
        recent = self.recent.find(queries, k, exclude, allow)
        if not len(self.main):
            return recent
        from towers.index.live.slots import best_of_both

        main = self.main.search(queries, k, exclude, allow)
        return Hits(*best_of_both((main.ids, main.scores), (recent.ids, recent.scores)))

    def warm(self, query: Float32[np.ndarray, "1 d"], before: "Moment") -> None:
        """Search once as will be searched later, that nobody waits: with each mask that is known to a moment before."""
        self.exactly().find(query, 1, None)
        for allow in (None, *before.main.masks()):
            self.find(query, 1, None, allow)

    def exactly(self) -> "Moment":
        """Return the same moment with a main part that is searched exactly."""
        return replace(self, main=ExactSearcher.over(self.main))
