"""Dropout whose mask is cheap to draw on a CPU."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

LEVELS = 256


class ByteDropout(nn.Dropout):
    """Dropout that draws eight coordinates at once; its share is rounded to 1/256.

    torch draws every coordinate on its own, which on a CPU takes longer than the product before it
    (6.4 ms against 0.6 ms here, for 200 × 64 × 64 coordinates on one core). On a GPU torch's own is one kernel.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> out = ByteDropout(0.25)(torch.ones(100_000))
        >>> sorted(set(out.tolist())), round(float(out.mean()), 1)
        ([0.0, 1.3333333730697632], 1.0)
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:  # noqa: A002 - torch's name
        """Return the input with some coordinates 0 and the others larger to make up for it."""
        dropped = round(self.p * LEVELS)
        if not self.training or dropped == 0:
            return input
        if dropped == LEVELS:
            return input * 0
        if input.is_cuda:
            return functional.dropout(input, dropped / LEVELS)
        drawn = torch.empty((input.numel() + 7) // 8, dtype=torch.int64, device=input.device)
        drawn.random_(torch.iinfo(torch.int64).min, None)
        level = drawn.view(torch.uint8)[: input.numel()].view(input.shape)
        return input * level.to(input.dtype).ge_(dropped).mul_(LEVELS / (LEVELS - dropped))
