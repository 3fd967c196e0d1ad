from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from towers.data import Encoder, Kind
from towers.features import encode_table
from towers.types import DataError

ENCODERS = (
    Encoder("genre", Kind.categorical, values=("a", "b")),
    Encoder("length", Kind.numeric, boundaries=(10.0, 20.0)),
    Encoder("tags", Kind.multi, values=("x", "y", "z")),
    Encoder("content", Kind.vector, dim=2),
)
RAW: dict[str, list[Any]] = {
    "genre": ["b", "new", None],
    "length": [10.0, None, 25.0],
    "tags": [["z", "x"], None, ["new"]],
    "content": [[1.0, 2.0], None, [3.0, 4.0]],
}


def table() -> pa.Table:
    types = (pa.string(), pa.float64(), pa.list_(pa.string()), pa.list_(pa.float32()))
    return pa.table({name: pa.array(values, kind) for (name, values), kind in zip(RAW.items(), types, strict=True)})


def test_codes_by_hand() -> None:
    features = encode_table(ENCODERS, table())
    assert features.codes.tolist() == [[0, 0], [0, 0], [3, 2], [1, 0], [0, 3]]
    assert features.bags[0].tolist() == [[0, 0], [0, 0], [4, 2], [0, 0], [1, 0]]
    assert features.vectors[0].tolist() == [[0, 0], [0, 0], [1, 2], [0, 0], [3, 4]]


def test_take_gathers_lines_of_every_kind() -> None:
    part = encode_table(ENCODERS, table()).take(np.array([4, 2]))
    assert part.codes.tolist() == [[0, 3], [3, 2]]
    assert part.bags[0].tolist() == [[1, 0], [4, 2]]
    assert part.vectors[0].tolist() == [[3, 4], [1, 2]]


def test_a_missing_column_is_named() -> None:
    with pytest.raises(
        DataError, match=r"features \['tags'\] are not in the table, which has \['genre', 'length', 'content'\]"
    ):
        encode_table(ENCODERS, table().drop_columns(["tags"]))


def test_a_vector_of_another_width_is_named() -> None:
    wider = pa.table({"content": pa.array([[1.0, 2.0], [1.0, 2.0, 3.0]], pa.list_(pa.float32()))})
    with pytest.raises(DataError, match="content: the vector of line 1 has 3 numbers; expected 2"):
        encode_table(ENCODERS[3:], wider)


def test_a_vector_that_was_never_met_has_no_numbers() -> None:
    never = pa.table({"content": pa.array([None, []], pa.list_(pa.float32()))})
    assert encode_table((Encoder("content", Kind.vector),), never).vectors[0].shape == (4, 0)
