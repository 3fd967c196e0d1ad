"""Tables of ids and of slots against dictionaries and sets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Exact, load_index
from towers.index.places import among, bits_of, home, places_of, set_of, slots_of
from towers.types import Geometry

IDS = st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 40) | st.integers(0, 40).map(lambda number: number * 2**40)


@given(st.lists(IDS, unique=True, max_size=80), st.lists(IDS, max_size=40))
def test_ids_are_found_in_their_slots_and_others_nowhere(ids: list[int], others: list[int]) -> None:
    slots = {each: slot for slot, each in enumerate(ids)}
    known = np.array(ids, np.int64)
    wanted = np.array([*ids, *others, -1], np.int64)
    assert slots_of(places_of(known), known, wanted).tolist() == [slots.get(int(each), -1) for each in wanted]
    some = places_of(known, np.arange(0, len(ids), 2))
    expected = [-1 if slots.get(int(each), 1) % 2 else slots[int(each)] for each in wanted]
    assert slots_of(some, known, wanted).tolist() == expected


@pytest.mark.parametrize("shift", [0, 22, 32, 45])
def test_ids_that_are_multiples_of_one_another_stand_near_their_homes(shift: int) -> None:
    ids = np.arange(2**17) << shift
    table = places_of(ids)
    far = (np.flatnonzero(table >= 0) - [home(each, len(table)) for each in ids[table[table >= 0]]]) % len(table)
    assert far.max() < 16


def test_an_index_of_format_2_excludes_as_ever(tmp_path: Path) -> None:
    vectors, ids = np.eye(40, dtype=np.float32), 3 * np.arange(40)
    Exact().build(vectors, ids, Geometry.dot).save(tmp_path)
    header, places = tmp_path / "index.json", tmp_path / "stock" / "places.npy"
    np.save(places, np.roll(np.load(places), 7))
    header.write_text(header.read_text().replace('"format": 4', '"format": 2'))
    found = load_index(tmp_path).search(vectors[5:6], 1, exclude=[ids[5:6]])
    assert found.ids.tolist() == [[0]]


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
