"""The innermost step, as this processor does it and as any other does, against numpy."""

from collections.abc import Callable

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index.block import FAST, RUN, TILED, fast_tiles, large_tiles, portable_tiles
from towers.index.codes import Blocks, empty_blocks
from towers.index.instructions import SLOTS
from towers.index.scan import Asked

KINDS = {"portable": portable_tiles, "fast": fast_tiles if FAST else None, "large": large_tiles if TILED else None}
BLOCKS = 5


def on(kind: str) -> tuple[Callable[..., tuple[int, int]], int]:
    """Return what scores a second run of blocks for the second query, and for those after it; how many these are."""
    tiles = KINDS[kind]
    if tiles is None:
        pytest.skip("not on this processor")
    one, several, lift_one, lift_several, prepare, finish, together = tiles

    def step(
        blocks: Blocks, may: np.ndarray, order: np.ndarray, last: int, asked: Asked, peaks: np.ndarray
    ) -> tuple[int, int]:
        run = order, order.size // 2, last
        prepare(asked.numbers.shape[1])
        high = Asked(asked.numbers, asked.bias, asked.least, asked.slots, peaks, asked.kept)
        lift_one(blocks, may, run, high, 1)
        lift_several(blocks, may, run, high, 2)
        grown = one(blocks, may, run, asked, 1), several(blocks, may, run, asked, 2)
        finish()
        return grown

    return numba.njit(error_model="numpy")(step), together


@pytest.mark.parametrize("kind", KINDS)
def test_scores_and_what_is_kept_equal_the_oracle(kind: str) -> None:
    step, together = on(kind)

    @given(seed=st.integers(0, 1000), chunks=st.integers(1, 70), run=st.integers(1, RUN), room=st.integers(0, 3))
    def check(seed: int, chunks: int, run: int, room: int) -> None:
        draw, width, q = np.random.default_rng(seed), 4 * chunks, 2 + together
        codes = draw.choice(np.array([0, 1, 127, 128, 255], np.uint8), (BLOCKS, width * SLOTS))
        scales = draw.random(BLOCKS * SLOTS, np.float32)
        may = draw.integers(0, 2**16, BLOCKS).astype(np.uint16)
        numbers = draw.choice(np.array([-127, -1, 0, 1, 127], np.int8), (q, width))
        bias, least = draw.integers(-1000, 1000, q).astype(np.int32), draw.normal(0, 1000, q).astype(np.float32)
        count = draw.integers(0, 5, q)
        slots, high = (np.full((q, 5 + RUN * SLOTS + room), -7, kind) for kind in (np.int32, np.float32))
        peaks = draw.normal(0, 1000, (q, 2 * RUN * SLOTS)).astype(np.float32)
        before, peaks_before = count.copy(), peaks.copy()
        order = draw.integers(0, BLOCKS, 2 * RUN).astype(np.int32)
        blocks = Blocks(codes, scales, may, np.zeros((BLOCKS * SLOTS, 1), np.float32), np.arange(BLOCKS * SLOTS))
        grown = step(blocks, may, order, RUN + run, Asked(numbers, bias, least, slots, high, count), peaks)

        vectors = codes.reshape(BLOCKS, chunks, SLOTS, 4).swapaxes(1, 2).reshape(-1, width).astype(np.int64)
        scores = (numbers.astype(np.int64) @ vectors.T - bias[:, None]).astype(np.float32) * scales
        looked = (order[RUN : RUN + run, None] * SLOTS + np.arange(SLOTS)).ravel()
        allowed = (may[looked // SLOTS] >> looked % SLOTS) & 1 == 1
        for row in range(1, q):
            kept = looked[(scores[row, looked] >= least[row]) & allowed]
            assert count[row] == before[row] + len(kept)
            np.testing.assert_array_equal(slots[row, before[row] : count[row]], kept)
            np.testing.assert_array_equal(high[row, before[row] : count[row]], scores[row, kept])
            assert (slots[row, : before[row]] == -7).all()
        lifted = peaks_before[1:, RUN * SLOTS : (RUN + run) * SLOTS]
        np.maximum(lifted, np.where(allowed, scores[1:, looked], -np.inf), out=lifted)
        np.testing.assert_array_equal(peaks, peaks_before)
        largest = [max([0, *(count[row] for row in rows if count[row] > before[row])]) for rows in ([1], range(2, q))]
        assert list(grown) == largest

    check()


def test_the_first_query_is_left_alone_when_another_is_asked() -> None:
    room = RUN * SLOTS
    asked = Asked(
        np.zeros((6, 4), np.int8),
        np.zeros(6, np.int32),
        np.zeros(6, np.float32),
        np.zeros((6, room), np.int32),
        np.zeros((6, room), np.float32),
        np.zeros(6, np.int64),
    )
    step, _ = on("portable")
    order, peaks = np.zeros(2 * RUN, np.int32), np.zeros((6, 2 * room), np.float32)
    assert step(empty_blocks(16, 4), np.array([0xFFFF], np.uint16), order, 2 * RUN, asked, peaks) == (room, room)
    assert asked.kept.tolist() == [0, *[room] * 5]
