"""What may be said of a video that comes: values that every tower and every table can take."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from towers.data import Encoder, Kind
from towers.serving.arrivals import _column, _wrong

LENGTH = Encoder("length", Kind.numeric, boundaries=(10.0, 20.0))
NAMES, TAGS = Encoder("author", Kind.categorical), Encoder("tags", Kind.multi)
CONTENT = Encoder("content", Kind.vector, dim=2)


@pytest.mark.parametrize(
    ("encoder", "value", "told"),
    [
        (LENGTH, 7, ""),
        (LENGTH, 2**53 + 1, ""),
        (LENGTH, -1e300, ""),
        (LENGTH, 2**63, "expected a number; whole ones have up to 64 bits"),
        (NAMES, 2**63, "expected one name such as 'a', not a list, or a whole number of 64 bits"),
        (NAMES, -(2**63), ""),
        (TAGS, ["a", 10**30], "expected a list of names, as in ['a', 'b']"),
        (LENGTH, 10**400, "expected a number; whole ones have up to 64 bits"),
        (LENGTH, float("nan"), "expected a number; whole ones have up to 64 bits"),
        (LENGTH, float("inf"), "expected a number; whole ones have up to 64 bits"),
        (LENGTH, True, "expected a number; whole ones have up to 64 bits"),
        (LENGTH, "7", "expected a number; whole ones have up to 64 bits"),
        (CONTENT, [1, 2.5], ""),
        (CONTENT, [2**24 + 1, -5e16], ""),
        (CONTENT, [0, -1e20], "expected a list of 2 numbers of 32 bits"),
        (CONTENT, [1e39, 0], "expected a list of 2 numbers of 32 bits"),
        (CONTENT, [10**400, 0], "expected a list of 2 numbers of 32 bits"),
        (CONTENT, [float("nan"), 0], "expected a list of 2 numbers of 32 bits"),
        (CONTENT, [1], "expected a list of 2 numbers of 32 bits"),
    ],
)
def test_what_is_said_fits_or_is_told_what_would(encoder: Encoder, value: Any, told: str) -> None:  # noqa: ANN401
    assert _wrong(encoder, value) == told
    column = _column(encoder, [{encoder.name: value}, {}])
    assert column.null_count == (2 if told else 1)
    if not told:
        if encoder is NAMES:
            return
        flat = column.flatten() if pa.types.is_list(column.type) else column.drop_null()
        assert np.isfinite(flat.to_numpy()).all()
