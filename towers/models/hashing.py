"""Ids in a table: a place for each, or in a small table two, and no two ids with the same two."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.models.places import OWN, pair_of
from towers.types import ConfigError


def table_size(rows: int, buckets: int, option: str = "id_buckets") -> int:
    """Return how many places a table needs for that many rows.

    Args:
        rows: Padding and unknown included.
        buckets: Of each of the two halves; 0 gives each row a place of its own.
        option: Of the model, that says how many.

    Raises:
        ConfigError: So few buckets that two ids would have the same two.
    """
    if buckets and rows - OWN > buckets**2:
        raise ConfigError(
            f"model.{option} is {buckets} for {rows - OWN:,} ids, of which some would be the same; expected at "
            f"least {math.isqrt(rows - OWN - 1) + 1}, the square root, and for good vectors a tenth of their number"
        )
    return OWN + 2 * buckets if buckets else rows


def two_places(rows: Int64[Tensor, " m"], buckets: int) -> Int64[Tensor, "m 2"]:
    """Return the two places of each row, [m, 2]; see :func:`towers.models.places.pair_of`.

    Example:
        >>> two_places(torch.tensor([1, 2, 3, 4, 5]), 3).tolist()
        [[1, 1], [2, 7], [3, 5], [4, 6], [2, 6]]
    """
    return torch.stack(pair_of(rows, buckets), dim=-1)


def places_of(rows: Int64[Tensor, " m"], buckets: int) -> Int64[Tensor, "m p"]:
    """Return where a table holds each row: at a place of its own, or at two that are added up, [m, 1 or 2]."""
    return two_places(rows, buckets) if buckets else rows[:, None]


def vectors_at(table: nn.Embedding, places: Int64[Tensor, "m p"]) -> Float[Tensor, "m d"]:
    """Return the sum over each line of places, [m, d]."""
    if places.shape[1] == 1:
        found: Tensor = table(places[:, 0])
        return found
    return torch.as_tensor(table(places.flatten()).unflatten(0, places.shape).sum(1))
