from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from towers.data import Encoder, Kind
from towers.features import encode_table, encode_values
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


def test_serving_encodes_as_training_did() -> None:
    trained, served = encode_table(ENCODERS, table()), encode_values(ENCODERS, RAW, 3)
    assert np.array_equal(trained.codes[2:], served.codes)
    assert np.array_equal(trained.bags[0][2:], served.bags[0])
    assert np.array_equal(trained.vectors[0][2:], served.vectors[0])


def test_a_feature_left_out_is_missing() -> None:
    assert encode_values(ENCODERS, {}, 2).codes.tolist() == [[0, 0], [0, 0]]


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
    with pytest.raises(DataError, match="content: the vector of line 1 has 3 numbers; expected 2"):
        encode_values(ENCODERS, {"content": [[1.0, 2.0], [1.0, 2.0, 3.0]]}, 2)


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(DataError, match=r"length: \['long'\] is not numeric: could not convert string to float"):
        encode_values(ENCODERS, {"length": ["long"]}, 1)
