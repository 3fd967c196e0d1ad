"""Words of one bit per slot against sets of slots."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.index.codes import blocks_in, narrowed, set_bits, slots_in

SLOTS = st.sets(st.integers(0, 79))


def words(slots: set[int]) -> np.ndarray:
    bits = np.zeros(5, np.uint16)
    set_bits(bits, np.array([*slots, -1], np.int32))
    return bits


@given(SLOTS, SLOTS)
def test_what_is_in_both_is_counted_and_named(one: set[int], other: set[int]) -> None:
    both, slots, blocks = narrowed(words(one), words(other))
    assert slots_in(both, slots).tolist() == sorted(one & other)
    assert blocks_in(both, blocks).tolist() == sorted({slot // 16 for slot in one & other})
    assert both.tolist() == words(one & other).tolist()
