"""Causal attention whose weights know how far back an event is."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable

from towers.models.history.encoder import within

STRIPE = 64
"""Queries whose weights are made at once; what comes after the last of them is not computed."""


class CausalAttention(nn.Module):
    """Softmax attention over events ≤ t, with a learned term of the logits for each distance.

    Args:
        heads: How many.
        length: Events that the encoder reads, the start not included.
    """

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.by_distance = nn.Parameter(torch.zeros(heads, length + 1))

    def forward(
        self, query: Float[Tensor, "b h d"], key: Float[Tensor, "b h d"], value: Float[Tensor, "b h d"]
    ) -> Float[Tensor, "b h d"]:
        """Return what each event attends to."""
        batch, count, dim = query.shape
        within(count, self.length)
        split = [part.reshape(batch, count, self.heads, -1).transpose(1, 2) for part in (query, key, value)]
        bias = by_pair(self.by_distance[:, :count], -torch.inf).to(query.dtype)
        attended: Tensor = _Attend.apply(*split, bias)  # type: ignore[no-untyped-call]
        return attended.transpose(1, 2).reshape(batch, count, dim)


def by_pair(by_distance: Float[Tensor, "k h"], later: float) -> Float[Tensor, "k h h"]:
    """Return the value of each pair of events, [heads, query, key]: of its distance; `later` for what comes after.

    A row of [distances reversed, later …] read with a stride one shorter than it is long moves by
    one from line to line: the whole square without a gather, whose gradient would be slow.

    Example:
        >>> by_pair(torch.tensor([[5.0, 6.0, 7.0]]), 0.0).tolist()
        [[[5.0, 0.0, 0.0], [6.0, 5.0, 0.0], [7.0, 6.0, 5.0]]]
    """
    heads, count = by_distance.shape
    line = torch.cat([by_distance.flip(-1), by_distance.new_full((heads, count), later)], dim=-1)
    square = line[:, None].expand(-1, count, -1).flatten(1)[:, : count * (2 * count - 1)]
    return square.view(heads, count, 2 * count - 1)[..., count - 1 :]


class _Attend(torch.autograd.Function):
    """Softmax(q kᵀ / √e + bias) v for queries [b, k, h, e], in stripes that leave out what comes after.

    torch's own attention takes 1.5 to 3 times as long on a CPU, forward and backward, at 64
    windows of 200 × 64, and gives no gradient to the bias without another, slower way.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        query = query * query.shape[-1] ** -0.5
        out, kept = torch.empty_like(query), []
        with torch.autocast(query.device.type, enabled=False):
            for begin, end in _stripes(query.shape[2]):
                logits = query[:, :, begin:end] @ key[:, :, :end].transpose(-1, -2)
                weights = logits.add_(bias[:, begin:end, :end]).softmax(-1)
                out[:, :, begin:end] = weights @ value[:, :, :end]
                kept.append(weights)
        ctx.save_for_backward(query, key, value, out, *kept)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, out, *kept = ctx.saved_tensors  # type: ignore[attr-defined]
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        count = query.shape[2]
        d_bias = query.new_zeros(query.shape[1], count, count)
        along = (grad * out).sum(-1, keepdim=True)
        for (begin, end), weights in zip(_stripes(count), kept, strict=True):
            part = grad[:, :, begin:end]
            d_value[:, :, :end] += weights.transpose(-1, -2) @ part
            d_logits = part @ value[:, :, :end].transpose(-1, -2)
            d_logits.sub_(along[:, :, begin:end]).mul_(weights)
            d_bias[:, begin:end, :end] = d_logits.sum(0)
            d_query[:, :, begin:end] = d_logits @ key[:, :, :end]
            d_key[:, :, :end] += d_logits.transpose(-1, -2) @ query[:, :, begin:end]
        return d_query.mul_(query.shape[-1] ** -0.5), d_key, d_value, d_bias


def _stripes(count: int) -> list[tuple[int, int]]:
    return list(pairwise([*range(0, count, STRIPE), count]))
