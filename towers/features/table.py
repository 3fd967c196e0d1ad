"""Features of users and videos as arrays of codes: encoded once, gathered ever after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Float32, Int32, Int64
from torch import Tensor

from towers.data import Encoder, Kind
from towers.types import DataError

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
    """

    codes: Int32[np.ndarray, "n f"]
    bags: tuple[Int32[np.ndarray, "n _w"], ...] = ()
    vectors: tuple[Float32[np.ndarray, "n _d"], ...] = ()

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: Int64[np.ndarray, " m"]) -> "FeatureTable":
        """Return the lines at rows, [m]."""
        return FeatureTable(self.codes[rows], tuple(b[rows] for b in self.bags), tuple(v[rows] for v in self.vectors))

    def tensors(self, rows: Int64[np.ndarray, " m"] | None = None) -> "FeatureTensors":
        """Return the lines at rows, or all, as torch tensors."""
        part = self if rows is None else self.take(rows)
        bags = tuple(torch.from_numpy(b).long() for b in part.bags)
        return FeatureTensors(torch.from_numpy(part.codes).long(), bags, tuple(map(torch.from_numpy, part.vectors)))


@dataclass(frozen=True)
class FeatureTensors:
    """A :class:`FeatureTable` as torch tensors, int64 and float32."""

    codes: Int64[Tensor, "n f"]
    bags: tuple[Int64[Tensor, "n _w"], ...] = ()
    vectors: tuple[Float[Tensor, "n _d"], ...] = ()

    def to(self, device: torch.device) -> "FeatureTensors":
        """Return the features on another device."""
        return FeatureTensors(
            self.codes.to(device), tuple(b.to(device) for b in self.bags), tuple(v.to(device) for v in self.vectors)
        )


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
    body = encode_values(encoders, {e.name: table[e.name].to_pylist() for e in encoders}, table.num_rows)
    front = np.zeros(2, np.int64)
    rows = np.concatenate([front, np.arange(len(body)) + 1])
    padded = FeatureTable(
        _blank_first(body.codes), tuple(map(_blank_first, body.bags)), tuple(map(_blank_first, body.vectors))
    )
    return padded.take(rows)


def encode_values(encoders: tuple[Encoder, ...], columns: Mapping[str, Sequence[Any]], count: int) -> FeatureTable:
    """Return raw values encoded, as at serving.

    Args:
        encoders: As fitted by `prepare`.
        columns: Raw values of each feature, None where missing; a feature left out is missing.
        count: How many lines, n.

    Raises:
        DataError: A vector has another width than was fitted.
    """
    values = {e.name: columns.get(e.name, [None] * count) for e in encoders}
    codes = [_codes(e, values[e.name]) for e in encoders if e.kind in {Kind.categorical, Kind.numeric}]
    return FeatureTable(
        np.stack(codes, axis=1) if codes else np.zeros((count, 0), np.int32),
        tuple(_bag(e, values[e.name]) for e in encoders if e.kind is Kind.multi),
        tuple(_vectors(e, values[e.name]) for e in encoders if e.kind is Kind.vector),
    )


def _blank_first(array: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros_like(array, shape=(1, *array.shape[1:])), array])


def _codes(encoder: Encoder, values: Sequence[Any]) -> np.ndarray:
    if encoder.kind is Kind.numeric:
        numbers = np.array([np.nan if v is None else float(v) for v in values], np.float64)
        buckets = np.searchsorted(np.array(encoder.boundaries, np.float64), numbers, side="right") + 1
        return np.where(np.isnan(numbers), MISSING, buckets).astype(np.int32)
    place = {value: code for code, value in enumerate(encoder.values, UNKNOWN + 1)}
    return np.array([MISSING if v is None else place.get(str(v), UNKNOWN) for v in values], np.int32)


def _bag(encoder: Encoder, values: Sequence[Any]) -> np.ndarray:
    place = {value: code for code, value in enumerate(encoder.values, UNKNOWN + 1)}
    width = max([1, *(min(len(v), BAG_WIDTH) for v in values if v is not None)])
    bag = np.zeros((len(values), width), np.int32)
    for row, several in enumerate(values):
        if several is not None:
            found = [place.get(str(v), UNKNOWN) for v in several if v is not None][:width]
            bag[row, : len(found)] = found
    return bag


def _vectors(encoder: Encoder, values: Sequence[Any]) -> np.ndarray:
    out = np.zeros((len(values), encoder.dim), np.float32)
    for row, vector in enumerate(values):
        if vector is None:
            continue
        if len(vector) != encoder.dim:
            raise DataError(f"{encoder.name}: a vector of {len(vector)} numbers; expected {encoder.dim}")
        out[row] = vector
    return out
