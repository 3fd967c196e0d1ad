"""Causal attention whose weights know how far back an event is, in steps and in time."""

from dataclasses import dataclass
from enum import Enum
from functools import reduce
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from towers.models.history.encoder import within
from towers.models.machine.codes import BUCKETS

STRIPE = 64
"""Queries whose weights are made at once on a CPU; what comes after the last of them is not computed. A GPU takes all
at once: there each stripe costs the start of its kernels, and the products next to nothing."""


class Weighting(Enum):
    """How logits become weights; the value is the logit of what must not be seen."""

    softmax = -torch.inf
    """Weights add up to one."""
    silu = -1e4
    """Each weight for itself; at this logit SiLU and its slope are 0, at minus infinity they are no numbers."""


class CausalAttention(nn.Module):
    """Attention over events ≤ t, with a learned term of the logits for each distance and head.

    Args:
        heads: How many; they share out the width.
        length: Events that the encoder reads, the start not included.
        weighting: How logits become weights.
        times: Whether there is also a term for the time since an event, the same for all heads.
    """

    def __init__(self, heads: int, length: int, weighting: Weighting = Weighting.softmax, times: bool = False) -> None:
        super().__init__()
        self.heads, self.length, self.weighting = heads, length, weighting
        self.by_distance = nn.Parameter(torch.zeros(heads, length + 1))
        self.by_time = nn.Parameter(torch.zeros(BUCKETS)) if times else None

    def forward(
        self,
        query: Float[Tensor, "b h d"],
        key: Float[Tensor, "b h d"],
        value: Float[Tensor, "b h v"],
        since: UInt8[Tensor, "b h h"] | None = None,
    ) -> Float[Tensor, "b h v"]:
        """Return what each event attends to.

        Args:
            query: What each event asks, [b, h, d].
            key: What each event is found by, [b, h, d].
            value: What each event gives, [b, h, v].
            since: How long ago each event is, as :func:`time_since` says; None where times do not count.
        """
        batch, count, _ = query.shape
        within(count, self.length)
        parts = [part.reshape(batch, count, self.heads, -1).transpose(1, 2) for part in (query, key, value)]
        terms = Terms(by_pair(self.by_distance[:, :count], self.weighting.value), self.by_time, since)
        return attend(parts[0], parts[1], parts[2], terms, self.weighting).transpose(1, 2).reshape(batch, count, -1)


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


@dataclass(frozen=True)
class Terms:
    """What is added to the logits of attention.

    Attributes:
        by_pair: Of each pair of events, [heads, query, key]; hides what comes after as the weighting says.
        by_time: Of each code of the time since an event, [codes]; None where times do not count.
        since: That code of each pair of events, [b, query, key].
    """

    by_pair: Float[Tensor, "k h h"]
    by_time: Float[Tensor, " codes"] | None = None
    since: UInt8[Tensor, "b h h"] | None = None


def attend(
    query: Float[Tensor, "b k h e"],
    key: Float[Tensor, "b k h e"],
    value: Float[Tensor, "b k h v"],
    terms: Terms,
    weighting: Weighting = Weighting.softmax,
) -> Float[Tensor, "b k h v"]:
    """Return weights(query keyᵀ / √e + terms) value, [batch, heads, events, v].

    Computed in stripes of queries that leave out what comes after. torch's own attention takes 1.5
    to 3 times as long on a CPU, forward and backward, at 64 windows of 200 × 64, and has no
    gradient of the terms but by another, slower way.

    Args:
        query: What each event asks, [b, k, h, e].
        key: What each event is found by, [b, k, h, e].
        value: What each event gives, [b, k, h, v].
        terms: What is added to the logits.
        weighting: How logits become weights.
    """
    how = (weighting, None if terms.by_time is None else terms.since)
    attended: Tensor = _Attend.apply(how, query, key, value, terms.by_pair.to(query.dtype), terms.by_time)  # type: ignore[no-untyped-call]
    return attended


_How = tuple[Weighting, Tensor | None]


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, how: _How, *parts: Any) -> Tensor:  # noqa: ANN401 - torch's
        (weighting, since), (query, key, value, by_pair, by_time) = how, parts
        query = query * query.shape[-1] ** -0.5
        out, kept = query.new_empty(*query.shape[:-1], value.shape[-1]), []
        with torch.autocast(query.device.type, enabled=False):
            for begin, end in _stripes(query):
                logits = (query[:, :, begin:end] @ key[:, :, :end].transpose(-1, -2)).add_(by_pair[:, begin:end, :end])
                if since is not None:
                    codes = since[:, begin:end, :end].int().flatten()
                    logits.add_(by_time.index_select(0, codes).view_as(logits[:, :1]).to(logits.dtype))
                kept.append(logits.softmax(-1) if weighting is Weighting.softmax else logits)
                out[:, :, begin:end] = _weights(kept[-1], weighting) @ value[:, :, :end]
        ctx.save_for_backward(query, key, value, out, *kept)
        ctx.how = how
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - torch's
        (weighting, since), (query, key, value, out, *kept) = ctx.how, ctx.saved_tensors
        d_query, d_key, d_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        d_pair = query.new_zeros(query.shape[1], query.shape[2], query.shape[2])
        d_time = None if since is None else torch.zeros(len(query), BUCKETS, device=query.device)
        along = (grad * out).sum(-1, keepdim=True) if weighting is Weighting.softmax else grad
        for (begin, end), saved in zip(_stripes(query), kept, strict=True):
            part = grad[:, :, begin:end]
            d_value[:, :, :end] += _weights(saved, weighting).transpose(-1, -2) @ part
            d_logits = part @ value[:, :, :end].transpose(-1, -2)
            if weighting is Weighting.softmax:
                d_logits.sub_(along[:, :, begin:end]).mul_(saved)
            else:
                d_logits = torch.ops.aten.silu_backward(d_logits, saved)
            d_pair[:, begin:end, :end] = d_logits.sum(0)
            if d_time is not None:
                d_codes = reduce(torch.add, d_logits.unbind(1)).float().flatten(1)
                d_time.scatter_add_(1, since[:, begin:end, :end].long().flatten(1), d_codes)
            d_query[:, :, begin:end] = d_logits @ key[:, :, :end]
            d_key[:, :, :end] += d_logits.transpose(-1, -2) @ query[:, :, begin:end]
        by_time = None if d_time is None else d_time.sum(0)
        return None, d_query.mul_(query.shape[-1] ** -0.5), d_key, d_value, d_pair, by_time


def _weights(kept: Tensor, weighting: Weighting) -> Tensor:
    """Return the weights from what the forward pass keeps: the weights, or for SiLU the logits."""
    return kept if weighting is Weighting.softmax else functional.silu(kept)


def _stripes(query: Tensor) -> list[tuple[int, int]]:
    count = query.shape[2]
    return [(0, count)] if query.is_cuda else list(pairwise([*range(0, count, STRIPE), count]))
