"""The circumstances of a request, as codes."""

import torch
from jaxtyping import Int64
from torch import Tensor

from towers.data import TIME_UNKNOWN

CONTEXT_SIZES = (25, 8)
"""Codes of hour and weekday, 0 = unknown."""
HOUR_MS = 3_600_000
THURSDAY = 3
"""1 January 1970; weekdays count from Monday = 0."""


def context_codes(time_ms: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape 2"]:
    """Return the codes of the hour (1–24) and the weekday (1 = Monday – 7), in UTC; 0 where the time is unknown.

    Example:
        >>> context_codes(torch.tensor([0, TIME_UNKNOWN])).tolist()
        [[1, 4], [0, 0]]
    """
    hours = time_ms // HOUR_MS
    codes = torch.stack([hours % 24 + 1, (hours // 24 + THURSDAY) % 7 + 1], dim=-1)
    return codes.masked_fill((time_ms == TIME_UNKNOWN)[..., None], 0)
