"""Masks against sets: what they hold, how they combine, and where an index finds them."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.index import Mask
from towers.index.bits import Bits, as_words
from towers.types import DataError

UNIVERSE = np.arange(-2, 70)
WORDS = 5
leaves = st.lists(st.integers(0, 66), max_size=40).map(lambda ids: (Mask(np.array(ids, np.int64)), frozenset(ids)))
Pair = tuple[Mask, frozenset[int]]
EVERYTHING = frozenset(UNIVERSE.tolist())


def combinations(parts: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    several = st.lists(parts, max_size=3)
    return (
        st.tuples(parts, parts).map(lambda two: (two[0][0] & two[1][0], two[0][1] & two[1][1]))
        | st.tuples(parts, parts).map(lambda two: (two[0][0] | two[1][0], two[0][1] | two[1][1]))
        | parts.map(lambda one: (~one[0], EVERYTHING - one[1]))
        | several.map(lambda all_: (Mask.any_of([m for m, _ in all_]), frozenset().union(*(s for _, s in all_))))
        | several.map(lambda all_: (Mask.all_of([m for m, _ in all_]), EVERYTHING.intersection(*(s for _, s in all_))))
    )


masks = st.recursive(leaves, combinations, max_leaves=6)


@given(masks)
def test_a_mask_holds_what_sets_say(pair: Pair) -> None:
    mask, truth = pair
    assert UNIVERSE[mask.holds(UNIVERSE)].tolist() == sorted(truth)


@given(masks, st.permutations(range(60)))
def test_bits_are_set_where_the_ids_of_a_mask_are(pair: Pair, ids: list[int]) -> None:
    mask, truth = pair
    where = {each: place for place, each in enumerate(ids)}
    bits = Bits(lambda wanted: np.array([where.get(each, -1) for each in wanted.tolist()], np.int32), WORDS)
    for _ in range(2):
        flags = np.unpackbits(as_words(bits.of(mask), WORDS).view(np.uint8), bitorder="little")
        assert [each for each in range(60) if flags[where[each]]] == sorted(truth & set(range(60)))


def test_a_mask_is_translated_once_and_forgotten_with_it() -> None:
    asked: list[list[int]] = []

    def find(ids: np.ndarray) -> np.ndarray:
        asked.append(ids.tolist())
        return ids.astype(np.int32)

    bits, one, other = Bits(find, WORDS), Mask(np.array([3, 1, 3])), Mask(np.array([5]))
    for mask in (one, one & ~other, other | one):
        bits.of(mask)
    assert asked == [[1, 3], [5]]
    gone = weakref.ref(other)
    del other, mask
    gc.collect()
    assert gone() is None
    assert bits.masks() == [one]


def test_thousands_combined_one_by_one_are_no_deeper_than_two() -> None:
    either, both = Mask(np.array([0])), ~Mask(np.array([0]))
    for each in range(1, 3000):
        either, both = either | Mask(np.array([each])), both & ~Mask(np.array([each]))
    assert either.holds(np.array([0, 2999, 3000])).tolist() == [True, True, False]
    assert both.holds(np.array([0, 2999, 3000])).tolist() == [False, False, True]


def test_the_ids_may_change_afterwards() -> None:
    ids = np.array([1, 2])
    mask = Mask(ids)
    ids[:] = 9
    assert mask.holds(np.array([1, 2, 9])).tolist() == [True, True, False]


def test_what_is_no_list_of_whole_numbers_is_refused() -> None:
    with pytest.raises(DataError, match=r"a mask of float64 of shape \(2,\); give the ids as int64"):
        Mask(np.array([1.0, np.nan]))
    with pytest.raises(DataError, match=r"a mask of int64 of shape \(1, 2\); give the ids as int64"):
        Mask(np.array([[1, 2]]))
    assert not Mask(np.array([])).holds(UNIVERSE).any()
