"""A first guess at the score of a query's k-th best, from a sample: what is below it need not be kept."""

import numpy as np
from jaxtyping import Float32, Int32, Int64, UInt16

from towers.compiled import compiled
from towers.index.block import RUN, TOGETHER, finish, lift_several, prepare
from towers.index.codes import Blocks
from towers.index.instructions import SLOTS, prefetch
from towers.index.scan import Asked, Found, about_kth_highest

_EVERY = 13
"""Of how many blocks one is looked at; odd, as blocks at even distances share few places of a cache."""
_ERRORS = 3.0


@compiled
def guess(
    blocks: Blocks, may: UInt16[np.ndarray, " blocks"], order: Int32[np.ndarray, " m"], found: Found, k: int
) -> None:
    """Raise the least score of all queries to one that their best k most probably reach.

    Of a query's best k some stand in the sample, by chance a few more: the score is taken that so many reach there.
    Whether k vectors do reach it is known when all have been looked at; see scan.shrink.
    """
    asked, bounds, _ = found
    ranks = _ranks(found, k)
    sample = np.empty(order.size // _EVERY, np.int32)
    for place in range(sample.size):
        sample[place] = order[place * _EVERY]
    # Of 8 groups a rank the best: that two of the best fall into one is rare, and only lowers the guess.
    columns = (min(sample.size, ranks.max() // 2 + 1) + RUN - 1) // RUN * RUN
    high = _highest(blocks, may, sample, found, columns * SLOTS)
    some = np.empty(columns * SLOTS, np.float32)
    for row in range(ranks.size):
        count = 0
        for number in high[row]:
            some[count] = number
            count += number > -np.inf
        if count >= ranks[row]:
            asked.least[row] = about_kth_highest(some[:count], ranks[row]) - 2 * bounds.slack[row]


@compiled
def _ranks(found: Found, k: int) -> Int64[np.ndarray, " q"]:
    """Return how many of a sample's best most probably take in one that is not among the best k, or more."""
    gone = found[2]
    ranks = np.empty(gone.begins.size - 1, np.int64)
    for row in range(ranks.size):
        unwanted = (gone.begins[row + 1] - gone.begins[row]) // 2  # at most: sets have room for twice as many
        expected = (k + unwanted) / _EVERY
        ranks[row] = np.int64(expected + _ERRORS * np.sqrt(expected) + 1)
    return ranks


@compiled
def _highest(
    blocks: Blocks, may: UInt16[np.ndarray, " blocks"], sample: Int32[np.ndarray, " s"], found: Found, groups: int
) -> Float32[np.ndarray, "q groups"]:
    """Return what the best of each group of a sample score at least."""
    asked, bounds, _ = found
    high = np.full((asked.bias.size, groups), -np.inf, np.float32)
    low = Asked(asked.numbers, asked.bias.copy(), asked.least, asked.slots, high, asked.kept)
    for row in range(bounds.doubt.size):
        low.bias[row] += np.int32(bounds.doubt[row])
    prepare(asked.numbers.shape[1])
    for place in range(0, sample.size, RUN):
        end = min(place + RUN, sample.size)
        for ahead in range(end, min(end + RUN, sample.size)):
            prefetch(blocks.codes, sample[ahead])
        for first in range(0, asked.bias.size, TOGETHER):
            lift_several(blocks, may, (sample, place, end), low, first)
    finish()
    return high
