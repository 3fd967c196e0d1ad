import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.data import Vocabulary
from towers.serving.lookup import Lookup
from towers.types import DataError

int_ids = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 20), unique=True)
string_ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True)


@given(int_ids, int_ids)
def test_ids_have_the_rows_that_the_vocabulary_says(ids: list[int], others: list[int]) -> None:
    vocabulary = Vocabulary.from_ids(np.array(ids, np.int64))
    lookup, asked = Lookup(vocabulary), [*others, *ids]
    assert lookup.rows(asked).tolist() == vocabulary.rows(asked).tolist()


@given(string_ids, st.text(max_size=2))
def test_strings_too(ids: list[str], other: str) -> None:
    vocabulary = Vocabulary.from_ids(np.array(ids, object)) if ids else Vocabulary(np.zeros(0, object))
    assert Lookup(vocabulary).rows([*ids, other]).tolist() == vocabulary.rows([*ids, other]).tolist()


def test_ids_that_are_multiples_of_one_another_do_not_pile_up() -> None:
    ids = np.concatenate([np.arange(50_000) << 40, np.arange(1, 50_000)])
    found = Lookup(Vocabulary.from_ids(ids)).rows(ids[::-1])
    np.testing.assert_array_equal(found, np.arange(2, len(ids) + 2)[::-1])


def test_ids_of_numpy_are_ids_and_another_sort_is_refused() -> None:
    numbers, names = Lookup(Vocabulary.from_ids(np.array([7, 2**60 + 1]))), Lookup(Vocabulary.from_ids(["7"]))
    assert numbers.rows([np.int64(7), np.uint8(7), 2**60 + 1, 8]).tolist() == [2, 2, 3, 1]
    assert numbers.rows(np.array([8, 7, 7, 8])[1::2]).tolist() == [2, 1]
    for lookup, wrong in ((numbers, "7"), (numbers, 2**64), (names, 7)):
        with pytest.raises(DataError, match="ids such as"):
            lookup.rows([wrong])
