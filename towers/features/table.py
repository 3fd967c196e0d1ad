"""Features of users and videos as arrays of codes: encoded once, gathered ever after."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float32, Int32, Int64

from towers.data import Encoder, Kind
from towers.types import DataError

if TYPE_CHECKING:
    from towers.features.tensors import FeatureTensors

BAG_WIDTH = 16
"""Values of a multi-valued feature beyond this many are left out."""
MISSING, UNKNOWN = 0, 1


@dataclass(frozen=True)
class FeatureTable:
    """Encoded features, one line per thing.

    Attributes:
        codes: Of each single-valued feature, [n, f]; 0 is missing.
        bags: Of each multi-valued feature, [n, w]; padded with 0.
        vectors: Content vectors, [n, d]; all zero is missing.
        rows: Dataset row of each thing, [n]; None where line n is row n.
    """

    codes: Int32[np.ndarray, "n f"]
    bags: tuple[Int32[np.ndarray, "n _w"], ...] = ()
    vectors: tuple[Float32[np.ndarray, "n _d"], ...] = ()
    rows: Int64[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Int64[np.ndarray, " m"]) -> "FeatureTable":
        """Return the lines at rows, [m]."""
        own = np.array(rows, np.int64) if self.rows is None else self.rows[rows]
        bags, vectors = (tuple(each[rows] for each in several) for several in (self.bags, self.vectors))
        return FeatureTable(self.codes[rows], bags, vectors, own)

    def tensors(self, rows: Int64[np.ndarray, " m"] | None = None) -> "FeatureTensors":
        """Return the lines at rows, or all, as torch tensors."""
        from towers.features.tensors import FeatureTensors

        part = self if rows is None else self.take(rows)
        return FeatureTensors.of(part, np.arange(len(part)) if part.rows is None else part.rows)


def encode_table(encoders: tuple[Encoder, ...], table: pa.Table) -> FeatureTable:
    """Return a dataset's table encoded, with the rows 0 (padding) and 1 (unknown) in front.

    Args:
        encoders: As fitted by `prepare`.
        table: Raw features in row order from row 2, as `Dataset.user_table()` gives them.

    Raises:
        DataError: A feature's column is missing, or a vector has another width than was fitted.
    """
    if gone := [e.name for e in encoders if e.name not in table.column_names]:
        raise DataError(f"features {gone} are not in the table, which has {table.column_names}; prepare again")
    body = _encode(encoders, {e.name: table[e.name].combine_chunks() for e in encoders}, table.num_rows)
    return FeatureTable(
        _blank_twice(body.codes), tuple(map(_blank_twice, body.bags)), tuple(map(_blank_twice, body.vectors))
    )


def _encode(encoders: tuple[Encoder, ...], arrays: Mapping[str, pa.Array], count: int) -> FeatureTable:
    codes = [_codes(e, arrays[e.name]) for e in encoders if e.kind in {Kind.categorical, Kind.numeric}]
    return FeatureTable(
        np.stack(codes, axis=1) if codes else np.zeros((count, 0), np.int32),
        tuple(_bag(e, arrays[e.name]) for e in encoders if e.kind is Kind.multi),
        tuple(_vectors(e, arrays[e.name]) for e in encoders if e.kind is Kind.vector),
    )


def _blank_twice(array: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(array, shape=(2, *array.shape[1:])), array])


def _codes(encoder: Encoder, values: pa.Array) -> Int32[np.ndarray, " n"]:
    if encoder.kind is Kind.numeric:
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        buckets = np.searchsorted(np.array(encoder.boundaries, np.float64), numbers, side="right") + 1
        return np.where(np.isnan(numbers), MISSING, buckets).astype(np.int32)
    place = pc.index_in(values, pa.array(encoder.values, pa.string()))
    known = place.fill_null(-1).to_numpy(zero_copy_only=False)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, MISSING, known + UNKNOWN + 1).astype(np.int32)


def _bag(encoder: Encoder, values: pa.Array) -> Int32[np.ndarray, "n w"]:
    sizes = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    owner = np.repeat(np.arange(len(values)), sizes)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    bag = np.zeros((len(values), max(1, min(BAG_WIDTH, sizes.max(initial=1)))), np.int32)
    kept = place < bag.shape[1]
    bag[owner[kept], place[kept]] = _codes(Encoder(encoder.name, Kind.categorical, encoder.values), values.flatten())[
        kept
    ]
    return bag


def _vectors(encoder: Encoder, values: pa.Array) -> Float32[np.ndarray, "n d"]:
    if encoder.dim == 0:
        return np.zeros((len(values), 0), np.float32)
    sizes = pc.list_value_length(values).fill_null(encoder.dim).to_numpy(zero_copy_only=False)
    if len(odd := np.flatnonzero(sizes != encoder.dim)):
        raise DataError(
            f"{encoder.name}: the vector of line {odd[0]} has {sizes[odd[0]]} numbers; expected {encoder.dim}"
        )
    out = np.zeros((len(values), encoder.dim), np.float32)
    present = values.is_valid().to_numpy(zero_copy_only=False)
    out[present] = values.flatten().to_numpy(zero_copy_only=False).reshape(-1, encoder.dim)
    return out
