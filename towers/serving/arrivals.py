"""Videos that come while the bundle is served: what is said of them, checked, and their vectors."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from towers.data import Encoder, Kind
from towers.features import FeatureTable, encode_table
from towers.publishing import Bundle
from towers.types import DataError

Features = Mapping[str, Any]
"""What is said of a video: names, lists of names, numbers, lists of numbers, by feature; what is missing is unknown."""
_TYPES = {
    Kind.categorical: pa.string(),
    Kind.multi: pa.list_(pa.string()),
    Kind.numeric: pa.float64(),
    Kind.vector: pa.list_(pa.float32()),
}
_TWO_BLANKS = 2
_MOST, _MOST_32 = sys.float_info.max, 2.0**56
"""The largest numbers, of 64 bits and of 32: of the latter less than can be written, since their squares are summed."""


def check_features(bundle: Bundle, features: Features) -> None:
    """Check what is said of a video against what the bundle's towers read.

    Raises:
        DataError: A feature that there is not, or a value of another kind; it is named.
    """
    encoders = {encoder.name: encoder for encoder in bundle.tower_arrays.encoders.videos}
    for name, value in features.items():
        if name not in encoders:
            raise DataError(f"videos have no feature {name!r}; this bundle reads: {', '.join(encoders) or 'none'}")
        if value is not None and (wrong := _wrong(encoders[name], value)):
            raise DataError(f"{name} is {_shown(value)}; {wrong}")


def arrived_vectors(
    bundle: Bundle, rows: Int64[np.ndarray, " n"], features: Sequence[Features]
) -> Float32[np.ndarray, "n d"]:
    """Return vectors of videos from what is said of them, and from their ids where the bundle knows them, [n, d].

    What does not suit this bundle's features is left out, as is what was never said: another bundle may have been
    asked.

    Args:
        bundle: Whose towers.
        rows: The videos' rows in it, 1 where it does not hold one, [n].
        features: What is said of each, [n].

    Raises:
        TowersError: A vector is not finite.
    """
    encoders = bundle.tower_arrays.encoders.videos
    columns = {encoder.name: _column(encoder, features) for encoder in encoders}
    count = {"count": pa.nulls(len(rows))}  # a table without columns has no rows
    encoded = encode_table(encoders, pa.table(columns | count))
    own = encoded.take(np.arange(_TWO_BLANKS, len(rows) + _TWO_BLANKS))
    return bundle.material.video_tower.vectors(FeatureTable(own.codes, own.bags, own.vectors, rows))


def _column(encoder: Encoder, features: Sequence[Features]) -> pa.Array:
    values = [each.get(encoder.name) for each in features]
    fitting = [None if value is None or _wrong(encoder, value) else _as_read(encoder.kind, value) for value in values]
    return pa.array(fitting, _TYPES[encoder.kind])


def _as_read(kind: Kind, value: Any) -> Any:  # noqa: ANN401
    if kind is Kind.categorical:
        return str(value)
    if kind is Kind.multi:
        return [str(each) for each in value]
    return float(value) if kind is Kind.numeric else [float(each) for each in value]


def _wrong(encoder: Encoder, value: Any) -> str:  # noqa: ANN401
    """Return what a value should have been; nothing where it is that."""
    if encoder.kind is Kind.categorical:
        return "" if _is_name(value) else "expected one name such as 'a', not a list, or a whole number of 64 bits"
    if encoder.kind is Kind.multi:
        fits = isinstance(value, list) and all(map(_is_name, value))
        return "" if fits else "expected a list of names, as in ['a', 'b']"
    if encoder.kind is Kind.numeric:
        return "" if _is_number(value, _MOST) else "expected a number; whole ones have up to 64 bits"
    fits = isinstance(value, list) and len(value) == encoder.dim and all(_is_number(each, _MOST_32) for each in value)
    return "" if fits else f"expected a list of {encoder.dim} numbers of 32 bits"


def _is_name(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, str) or _is_whole(value)


def _is_number(value: Any, most: float) -> bool:  # noqa: ANN401
    return (_is_whole(value) or isinstance(value, float)) and -most <= value <= most


def _is_whole(value: Any) -> bool:  # noqa: ANN401
    # More than 64 bits no store can keep.
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _shown(value: Any) -> str:  # noqa: ANN401
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
