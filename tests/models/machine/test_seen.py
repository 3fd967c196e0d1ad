import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN
from towers.models.history import Clock
from towers.models.history.since import time_since
from towers.models.machine.seen import Asked, seen_by, time_codes

START = np.array([-1, -2], np.float32)
VECTORS = np.arange(30, dtype=np.float32).reshape(10, 3)


def test_the_newest_events_stand_after_the_start() -> None:
    history = np.array([[4, 5, 6], [7, 0, 0], [0, 0, 0]])
    happened = np.where(history > 0, history * 100, TIME_UNKNOWN)
    seen = seen_by(Asked(history, happened, np.array([1, 2, 3]), VECTORS, START, 2))
    assert seen.events.tolist() == [[-1, -2], [15, 16], [18, 19], [-1, -2], [21, 22], [-1, -2]]
    assert seen.begins.tolist() == [0, 3, 5, 6]
    assert seen.happened_ms.tolist() == [TIME_UNKNOWN, 500, 600, TIME_UNKNOWN, 700, TIME_UNKNOWN]


times = st.just(TIME_UNKNOWN) | st.integers(-(10**13), 10**13)


@given(st.lists(times, max_size=6), times, st.integers(0, 6))
def test_codes_of_times_are_those_of_training(happened: list[int], asked: int, first: int) -> None:
    count = len(happened)
    history = np.full((1, count), 3)
    seen = seen_by(Asked(history, np.array([happened], np.int64), np.array([asked]), VECTORS, START, 6))
    both = torch.tensor([[TIME_UNKNOWN, *happened, asked]])
    expected = time_since(Clock(both[:, :-1], both[:, 1:]))[0].numpy()
    first = min(first, count)
    np.testing.assert_array_equal(time_codes(seen, 0, first), np.tril(expected)[first:])
