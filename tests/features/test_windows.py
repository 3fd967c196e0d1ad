import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN, Positives
from towers.features import Windows, pad_histories
from towers.features.windows import last_strictly_before

counts_of_users = st.lists(st.integers(0, 30), min_size=1, max_size=12)


def positives(counts: list[int]) -> Positives:
    total = sum(counts)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Positives(
        offsets, np.arange(2, total + 2, dtype=np.int32), np.full(total, TIME_UNKNOWN), np.ones(total, np.float32)
    )


@given(counts=counts_of_users, length=st.integers(1, 12))
def test_every_event_is_a_target_once_and_windows_stay_within_users(counts: list[int], length: int) -> None:
    flat = positives(counts)
    windows = Windows.of(flat, length)
    targets = np.concatenate([np.arange(f, e) for f, e in [(0, 0), *zip(windows.first, windows.end, strict=True)]])
    assert sorted(targets.tolist()) == list(range(sum(counts)))
    assert (windows.end - windows.begin <= length).all()
    assert (windows.begin >= flat.offsets[windows.user]).all()
    assert (windows.end <= flat.offsets[windows.user + 1]).all()


@given(counts=counts_of_users, length=st.integers(2, 12))
def test_later_targets_have_at_least_half_a_window_of_history(counts: list[int], length: int) -> None:
    windows = Windows.of(positives(counts), length)
    later = windows.first > windows.begin
    assert (windows.first - windows.begin >= length - length // 2)[later].all()


@given(counts=counts_of_users, size=st.integers(1, 60), seed=st.integers(0, 99))
def test_batches_hold_every_window_once_within_the_size(counts: list[int], size: int, seed: int) -> None:
    windows = Windows.of(positives(counts), 9)
    batches = list(windows.batches(size, np.random.default_rng(seed)))
    assert sorted(np.concatenate(batches).tolist() if batches else []) == list(range(len(windows)))
    for chosen in batches:
        assert len(chosen) == 1 or windows.events(chosen).size <= size


def test_windows_without_a_target_that_weighs_are_left_out() -> None:
    flat = positives([3, 2, 12])
    weight = np.zeros(17, np.float32)
    weight[[4, 14]] = 1
    kept = Windows.of(flat, 6).weighing(weight)
    assert list(zip(kept.first.tolist(), kept.end.tolist(), strict=True)) == [(3, 5), (14, 17)]


def test_the_order_of_batches_follows_from_the_seed() -> None:
    windows = Windows.of(positives([5, 3, 9, 9, 2, 7]), 9)
    one, two, other = ([b.tolist() for b in windows.batches(12, np.random.default_rng(seed))] for seed in (1, 1, 2))
    assert one == two
    assert one != other


@given(counts=counts_of_users, length=st.integers(1, 12))
def test_histories_are_the_newest_events_oldest_first(counts: list[int], length: int) -> None:
    flat = positives(counts)
    users = np.arange(len(counts))
    padded = pad_histories(flat.offsets, flat.video_row, users, length)
    for user in users:
        expected = flat.of(int(user))[-length:].tolist()
        assert padded[user].tolist() == expected + [0] * (padded.shape[1] - len(expected))


def test_equal_times_are_not_the_past() -> None:
    times = np.array([[1, 1, 1, 2, 2], [TIME_UNKNOWN, TIME_UNKNOWN, 3, 3, TIME_UNKNOWN]])
    assert last_strictly_before(times).tolist() == [[0, 0, 0, 3, 3], [0, 1, 2, 2, 4]]
