import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from towers.serving.store import Event
from towers.serving.store.known import Known, merged
from towers.serving.store.store import Watched

STEPS = st.lists(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(0, 5), st.booleans())))


def event(user: int, video: int, time_ms: int, positive: bool) -> Event:
    """Return something that a user did."""
    return Event(event_id="e", user_id=user, video_id=video, time_ms=time_ms, positive=positive)


@given(steps=STEPS)
def test_what_is_kept_is_what_came(steps: list[list[tuple[int, int, int, bool]]]) -> None:
    known, expected = Known(10_000, longest=7), dict[int | str, Watched]()
    for step in steps:
        events = [event(*one) for one in step]
        known.add(events)
        for user in {one.user_id for one in events}:
            own = [one for one in events if one.user_id == user]
            expected[user] = merged(expected.get(user, []), own, 7)
    for user in range(1, 5):
        assert known.of(user) == expected.get(user, [])


def test_a_mark_is_another_once_something_has_changed() -> None:
    known = Known(100, longest=7)
    known.put(1, [(5, 100)])
    first = known.mark(1)
    assert known.mark(1) is first
    known.add([event(2, 5, 100, True)])
    assert known.mark(1) is first
    known.add([event(1, 6, 200, True)])
    assert known.mark(1) is not first
    known.forget(1)
    assert known.mark(1) is None


def test_who_was_put_longest_ago_is_forgotten_first() -> None:
    known = Known(9, longest=7)
    for user in range(1, 4):
        known.put(user, [(5, 100), (6, 200)])
    known.put(1, [(5, 100)])
    known.add([event(1, 7, 300, True), event(3, 7, 300, True)])
    assert [known.of(user) for user in range(1, 4)] == [
        [(5, 100), (7, 300)],
        [],
        [(5, 100), (6, 200), (7, 300)],
    ]


def test_a_positive_takes_some_thirty_bytes() -> None:
    tracemalloc.start()
    try:
        known, before = Known(100_000, longest=1000), tracemalloc.get_traced_memory()[0]
        for video in range(1000, 1020):
            known.add([event(user, video, 1_700_000_000_000 + video, True) for user in range(1000)])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 35 * 20_000, "a pair of numbers alone would take 56 bytes, and they as much again"
