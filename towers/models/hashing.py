"""Ids in a table: a place for each, or in a small table two, and no two ids with the same two."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.types import ConfigError

OWN = 2
"""Rows 0 (padding) and 1 (unknown) keep a place of their own."""


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
    """Return the two places of each row; no two rows of at most buckets² have the same two.

    The first is what is left of the row divided by the number of buckets, the second that, moved by a stride as often
    as the division went: the stride shares no factor with the number, so it comes back only after all buckets.

    Args:
        rows: Of videos or users, [m].
        buckets: Of each half of the table.

    Source:
        Shi et al. 2020, Compositional embeddings using complementary partitions, section 3; that two places of one
        table are added up, Svenstrup et al. 2017, Hash embeddings for efficient word representations.

    Example:
        >>> two_places(torch.tensor([1, 2, 3, 4, 5]), 3).tolist()
        [[1, 1], [2, 7], [3, 5], [4, 6], [2, 6]]
    """
    stride = next(step for step in range(round(0.618 * buckets) or 1, 0, -1) if math.gcd(step, buckets) == 1)
    times, rest = torch.div(rows - OWN, buckets, rounding_mode="floor"), (rows - OWN) % buckets
    second = (rest + stride * (1 + times)) % buckets
    pair = torch.stack([OWN + rest, OWN + buckets + second], dim=-1)
    return torch.where(rows[..., None] < OWN, rows[..., None], pair)


def places_of(rows: Int64[Tensor, " m"], buckets: int) -> Int64[Tensor, "m p"]:
    """Return where a table holds each row: at a place of its own, or at two that are added up, [m, 1 or 2]."""
    return two_places(rows, buckets) if buckets else rows[:, None]


def vectors_at(table: nn.Embedding, places: Int64[Tensor, "m p"]) -> Float[Tensor, "m d"]:
    """Return the sum over each line of places, [m, d]."""
    if places.shape[1] == 1:
        found: Tensor = table(places[:, 0])
        return found
    return torch.as_tensor(table(places.flatten()).unflatten(0, places.shape).sum(1))
