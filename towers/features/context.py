"""The circumstances of a request, as codes."""

import torch
from jaxtyping import Int64
from torch import Tensor

from towers.data import TIME_UNKNOWN
from towers.features.calendar import HOUR_MS, THURSDAY


def context_codes(time_ms: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape 2"]:
    """Return the codes of the hour (1–24) and the weekday (1 = Monday – 7), in UTC; 0 where the time is unknown.

    Example:
        >>> context_codes(torch.tensor([0, TIME_UNKNOWN])).tolist()
        [[1, 4], [0, 0]]
    """
    hours = time_ms // HOUR_MS
    codes = torch.stack([hours % 24 + 1, (hours // 24 + THURSDAY) % 7 + 1], dim=-1)
    return codes.masked_fill((time_ms == TIME_UNKNOWN)[..., None], 0)
