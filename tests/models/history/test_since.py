"""How long ago is a code that rises with time and depends on nothing else."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN
from towers.models.history import Clock
from towers.models.history.since import time_since
from towers.models.machine.codes import BUCKETS

NOW = 1_650_000_000_000


def code(ago_ms: int) -> int:
    """The code of one event that long ago."""
    return int(time_since(Clock(torch.tensor([[NOW - ago_ms]]), torch.tensor([[NOW]])))[0, 0, 0])


def test_codes_by_hand() -> None:
    # 1 + seconds from 1, 1.5, 2, 3, 4, 6, 8 … on; a day is 1.3 · 2^16 seconds
    assert [code(1000 * seconds) for seconds in (0, 1, 2, 3, 4, 5, 7)] == [1, 3, 4, 5, 5, 6, 7]
    assert code(86_400_000) == 1 + 2 * 16
    assert code(-5_000) == 1
    assert code(1000 * 60 * 31_536_000) == 1 + 2 * 30 + 1


@given(some=st.integers(0, 2**41), other=st.integers(0, 2**41))
def test_what_is_longer_ago_has_no_lower_code(some: int, other: int) -> None:
    assert (code(some) <= code(other)) or some > other
    assert 1 <= code(some) < BUCKETS


def test_an_unknown_request_is_asked_when_its_last_event_happened() -> None:
    happened = torch.tensor([[TIME_UNKNOWN, NOW, NOW + 60_000]])
    unknown = torch.full((1, 3), TIME_UNKNOWN)
    right_away = time_since(Clock(happened, happened))
    assert torch.equal(time_since(Clock(happened, unknown)), right_away)
    assert right_away[0, 2].tolist() == [0, 12, 1]
    assert not right_away[0, 0].any()


def test_times_of_which_none_is_known_have_the_code_of_the_unknown() -> None:
    assert not time_since(Clock(*torch.full((2, 3, 4), TIME_UNKNOWN))).any()


def test_a_century_between_two_events_does_not_run_over() -> None:
    ages = torch.tensor([[0, 3_155_760_000_000]])
    assert time_since(Clock(ages, ages))[0, 1].tolist() == [BUCKETS - 1, 1]
