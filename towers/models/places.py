"""Where a table of ids holds each: at a place of its own, or in a small table at two. For tensors and arrays alike."""

import math
from typing import Any

OWN = 2
"""Rows 0 (padding) and 1 (unknown) keep a place of their own."""


def pair_of(rows: Any, buckets: int) -> tuple[Any, Any]:  # noqa: ANN401 - an array or a tensor, [m]
    """Return the two places of each row, [m] and [m]; no two rows of at most buckets² have the same two.

    The first is what is left of the row divided by the number of buckets, the second that, moved by a stride as often
    as the division went: the stride shares no factor with the number, so it comes back only after all buckets.

    Args:
        rows: Of videos or users, whole numbers.
        buckets: Of each half of the table.

    Source:
        Shi et al. 2020, Compositional embeddings using complementary partitions, section 3; that two places of one
        table are added up, Svenstrup et al. 2017, Hash embeddings for efficient word representations.

    Example:
        >>> import numpy as np
        >>> [places.tolist() for places in pair_of(np.array([1, 2, 3, 4, 5]), 3)]
        [[1, 2, 3, 4, 2], [1, 7, 5, 6, 6]]
    """
    stride = next(step for step in range(round(0.618 * buckets) or 1, 0, -1) if math.gcd(step, buckets) == 1)
    times, rest, shared = (rows - OWN) // buckets, (rows - OWN) % buckets, rows >= OWN
    first, second = OWN + rest, OWN + buckets + (rest + stride * (1 + times)) % buckets
    return first * shared + rows * ~shared, second * shared + rows * ~shared
