"""How long ago an event is when a state is asked, as a code."""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from towers.data import TIME_UNKNOWN
from towers.models.history.encoder import Clock
from towers.models.machine.codes import FIRST, HALF_OCTAVES


def time_since(clock: Clock) -> UInt8[Tensor, "b h h"]:
    """Return the code of the time from each event to each moment of asking, [b, asked, happened].

    A state that is asked at an unknown moment is taken to be asked when its last event happened.

    Example:
        >>> happened = torch.tensor([[TIME_UNKNOWN, 0, 1_000]])
        >>> time_since(Clock(happened, torch.tensor([[0, 1_000, TIME_UNKNOWN]])))[0, 2].tolist()
        [0, 3, 1]
    """
    asked_ms = torch.where(clock.asked_ms == TIME_UNKNOWN, clock.happened_ms, clock.asked_ms)
    known = clock.happened_ms != TIME_UNKNOWN
    first = torch.where(known, clock.happened_ms, torch.iinfo(torch.int64).max).amin(1, keepdim=True)
    happened, asked = (_seconds(time_ms, first) for time_ms in (clock.happened_ms, asked_ms))
    seconds = (asked[:, :, None] - happened[:, None]).clamp_(min=0).float().add_(1)
    codes = seconds.view(torch.int32).bitwise_right_shift_(HALF_OCTAVES).sub_(FIRST).to(torch.uint8)
    return codes.mul_((asked_ms != TIME_UNKNOWN)[:, :, None] & known[:, None])


def _seconds(time_ms: Int64[Tensor, "b h"], first_ms: Int64[Tensor, "b 1"]) -> Tensor:
    """Return whole seconds since the first event, as int32, which holds 68 years; 0 where the time is unknown."""
    since = (time_ms // 1000 - first_ms // 1000).clamp_(0, torch.iinfo(torch.int32).max)
    return since.masked_fill_(time_ms == TIME_UNKNOWN, 0).to(torch.int32)
