"""The innermost step, as this processor does it and as any other does, against numpy."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.compiled import compiled
from towers.index.block import FAST, SLOTS, TOGETHER, fast_tiles, portable_tiles
from towers.index.codes import Blocks, empty_blocks
from towers.index.scan import Asked

portable_one, portable_several = portable_tiles
fast_one, fast_several = fast_tiles if FAST else portable_tiles


@compiled
def _fast(blocks: Blocks, may: np.ndarray, block: int, asked: Asked) -> tuple[int, int]:
    return fast_one(blocks, may, block, asked, 1), fast_several(blocks, may, block, asked, 2)


@compiled
def _portable(blocks: Blocks, may: np.ndarray, block: int, asked: Asked) -> tuple[int, int]:
    return portable_one(blocks, may, block, asked, 1), portable_several(blocks, may, block, asked, 2)


@pytest.mark.parametrize("step", [_fast, _portable], ids=["fast", "portable"])
@given(seed=st.integers(0, 1000), chunks=st.integers(1, 19), room=st.integers(0, 3))
def test_scores_and_what_is_kept_equal_the_oracle(
    step: Callable[..., tuple[int, int]], seed: int, chunks: int, room: int
) -> None:
    draw, width, q = np.random.default_rng(seed), 4 * chunks, 2 + TOGETHER
    codes = draw.choice(np.array([0, 1, 127, 128, 255], np.uint8), (3, width * SLOTS))
    scales, may = draw.random(3 * SLOTS, np.float32), draw.integers(0, 2**16, 3).astype(np.uint16)
    numbers = draw.choice(np.array([-127, -1, 0, 1, 127], np.int8), (q, width))
    bias, least = draw.integers(-1000, 1000, q).astype(np.int32), draw.normal(0, 1000, q).astype(np.float32)
    count = draw.integers(0, 5, q)
    slots, high = np.full((q, 5 + SLOTS + room), -7, np.int32), np.zeros((q, 5 + SLOTS + room), np.float32)
    before = count.copy()
    blocks = Blocks(codes, scales, may, np.zeros((48, 1), np.float32), np.arange(48))
    grown = step(blocks, may, 1, Asked(numbers, bias, least, slots, high, count))
    vectors = codes[1].reshape(chunks, SLOTS, 4).transpose(1, 0, 2).reshape(SLOTS, width).astype(np.int64)
    for row in range(1, q):
        scores = (vectors @ numbers[row].astype(np.int64) - bias[row]).astype(np.float32) * scales[SLOTS : 2 * SLOTS]
        kept = np.flatnonzero((scores >= least[row]) & (may[1] >> np.arange(SLOTS) & 1 == 1))
        assert count[row] == before[row] + len(kept)
        np.testing.assert_array_equal(slots[row, before[row] : count[row]], SLOTS + kept)
        np.testing.assert_array_equal(high[row, before[row] : count[row]], scores[kept])
        assert (slots[row, : before[row]] == -7).all()
    largest = [max([0, *(count[row] for row in rows if count[row] > before[row])]) for rows in ([1], range(2, q))]
    assert list(grown) == largest


def test_the_first_query_is_left_alone_when_another_is_asked() -> None:
    asked = Asked(
        np.zeros((6, 4), np.int8),
        np.zeros(6, np.int32),
        np.zeros(6, np.float32),
        np.zeros((6, 32), np.int32),
        np.zeros((6, 32), np.float32),
        np.zeros(6, np.int64),
    )
    assert _portable(empty_blocks(16, 4), np.array([0xFFFF], np.uint16), 0, asked) == (16, 16)
    assert asked.kept.tolist() == [0, 16, 16, 16, 16, 16]
