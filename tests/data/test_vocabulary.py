import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.data import Vocabulary
from towers.types import DataError, UnknownIdError

int_ids = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True)
string_ids = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True)


@given(int_ids | string_ids)
def test_ids_and_rows_round_trip(ids: list[int] | list[str]) -> None:
    vocabulary = Vocabulary.from_ids(np.array(ids, object if ids and isinstance(ids[0], str) else np.int64))
    rows = vocabulary.rows(ids)
    assert rows.tolist() == list(range(2, len(ids) + 2))
    assert list(vocabulary.ids(rows)) == ids
    assert len(vocabulary) == len(ids) + 2


def test_neighbours_above_2_to_the_53_stay_apart() -> None:
    vocabulary = Vocabulary.from_ids(np.array([2**53, 2**53 + 1, 2**63 - 1]))
    assert vocabulary.rows([2**53 + 1, 2**53, 2**63 - 1, 2**53 + 2]).tolist() == [3, 2, 4, 1]
    assert list(vocabulary.ids([3])) == [2**53 + 1]


def test_an_unknown_id_gets_row_1_or_raises() -> None:
    vocabulary = Vocabulary.from_ids(["b", "a"])
    assert vocabulary.is_string
    assert vocabulary.rows(["a", "c", "b"]).tolist() == [3, 1, 2]
    with pytest.raises(UnknownIdError, match="id 'c' is not among the 2 known ids"):
        vocabulary.rows(["a", "c"], strict=True)


def test_an_empty_vocabulary_knows_nothing() -> None:
    vocabulary = Vocabulary.from_ids(np.zeros(0, np.int64))
    assert len(vocabulary) == 2
    assert vocabulary.rows([5, 6]).tolist() == [1, 1]
    assert vocabulary.rows([]).tolist() == []


def test_strings_and_integers_do_not_mix() -> None:
    with pytest.raises(DataError, match="ids such as '7' are string, but the dataset's ids are int64"):
        Vocabulary.from_ids(np.array([7])).rows(["7"])
    with pytest.raises(DataError, match="ids such as 7 are int64, but the dataset's ids are string"):
        Vocabulary.from_ids(["7"]).rows([7])
    with pytest.raises(DataError, match=r"ids such as 7\.5 \(float64\); expected int64 or all strings"):
        Vocabulary.from_ids(np.array([7])).rows([7.5])


def test_twice_the_same_id_is_refused() -> None:
    with pytest.raises(DataError, match="id 'a' appears twice"):
        Vocabulary.from_ids(["a", "b", "a"])


@pytest.mark.parametrize("row", [0, 1, 4, -1])
def test_rows_without_an_id_are_refused(row: int) -> None:
    with pytest.raises(UnknownIdError, match=f"row {row} has no id; rows 2 to 3 have one"):
        Vocabulary.from_ids(["a", "b"]).ids(np.array([2, row]))


def test_the_fingerprint_tells_order_sort_and_borders_apart() -> None:
    sets = (["1", "2"], ["2", "1"], ["12"], np.array([1, 2]), np.array([2, 1]))
    fingerprints = [Vocabulary.from_ids(ids).fingerprint for ids in sets]
    assert len(set(fingerprints)) == len(sets)
    assert Vocabulary.from_ids(["1", "2"]).fingerprint == fingerprints[0]
