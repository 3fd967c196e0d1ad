"""Tables of ids and of slots against dictionaries and sets."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from towers.index.places import among, bits_of, places_of, set_of, slots_of

IDS = st.integers(0, 2**63 - 1) | st.integers(0, 40) | st.integers(0, 40).map(lambda number: number * 2**40)


@given(st.lists(IDS, unique=True, max_size=80), st.lists(IDS, max_size=40))
def test_ids_are_found_in_their_slots_and_others_nowhere(ids: list[int], others: list[int]) -> None:
    slots = {each: slot for slot, each in enumerate(ids)}
    known = np.array(ids, np.int64)
    wanted = np.array([*ids, *others, -1], np.int64)
    assert slots_of(places_of(known), known, wanted).tolist() == [slots.get(int(each), -1) for each in wanted]


@given(st.lists(st.integers(-1, 200), max_size=100))
def test_a_set_holds_what_was_put_in(slots: list[int]) -> None:
    table = set_of(np.array(slots, np.int32))
    assert (len(table) == 0) == (not slots)
    if slots:
        assert [among(table, slot) for slot in range(220)] == [slot in slots for slot in range(220)]


@given(st.lists(st.integers(-1, 90), min_size=1, max_size=100), st.lists(st.integers(3, 95), min_size=1, max_size=40))
def test_bits_are_set_where_an_id_is_wanted(ids: list[int], wanted: list[int]) -> None:
    words = bits_of(np.array(ids), np.array(wanted))
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    assert bits[: len(ids)].tolist() == [each in wanted for each in ids]
    assert not bits[len(ids) :].any()
