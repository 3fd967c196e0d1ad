"""Requests hold histories and times side by side."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN
from towers.features import Requests


@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=5), length=st.integers(1, 6))
def test_every_event_keeps_its_time(counts: list[int], length: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(counts)])
    rows = np.arange(2, 2 + offsets[-1], dtype=np.int32)
    made = Requests.of(offsets, rows, rows.astype(np.int64) * 1000, np.arange(len(counts)), length)
    known = made.history > 0
    assert known.sum(axis=1).tolist() == [min(count, length) for count in counts]
    np.testing.assert_array_equal(made.history_ms[known], made.history[known] * 1000)
    assert (made.history_ms[~known] == TIME_UNKNOWN).all()
    assert (made.asked_ms == TIME_UNKNOWN).all()


def test_take_gives_the_requests_asked_for() -> None:
    history = np.array([[2, 3], [4, 0], [5, 6]])
    made = Requests(history, history * 10, np.array([7, 8, 9])).take(np.array([2, 0]))
    assert (len(made), made.history.tolist(), made.history_ms.tolist(), made.asked_ms.tolist()) == (
        2,
        [[5, 6], [2, 3]],
        [[50, 60], [20, 30]],
        [9, 7],
    )
