"""Attention without a softmax, for streams of what was watched."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from towers.kinds import check_kinds
from towers.models.history.attention import CausalAttention, Weighting
from towers.models.history.dropout import ByteDropout
from towers.models.history.encoder import Clock, History, HistoryEncoder, a_share, at_least_one, divides
from towers.models.history.since import time_since


@dataclass(kw_only=True)
class HstuHistory(History):
    """Layers of gated attention whose weights are SiLU of the logits: they need not add up to one.

    So a state can tell how much of something was watched, not only which share. One layer is
    attention, its norm, and a gate; there is no feed-forward. A weight's logit has a learned term for
    each distance and head, and one for the time from an event to the request: at an unknown moment, to the
    last event.

    Recommendation: beside :class:`TransformerHistory` where how much of something was watched tells
    more than which share, and where histories are long; about as fast.

    Source:
        Zhai et al. 2024, Actions Speak Louder than Words, section 3.2, eq. 1 to 3, with attention
        divided by the number of events.
    """

    blocks: int = 2
    """Layers, one after the other."""
    heads: int = 2
    """Heads of each attention; they share out the width."""
    dropout: float = 0.2
    """Share of each layer's outputs that a step leaves out."""
    times: bool = True
    """Whether an event's weight also depends on how long before the request, or the last event, it happened."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.history.")
        at_least_one(blocks=self.blocks, heads=self.heads)
        a_share(dropout=self.dropout)

    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return the encoder."""
        divides(dim, self.heads)
        return _Hstu(self, dim, length)


class _Hstu(HistoryEncoder):
    def __init__(self, config: HstuHistory, dim: int, length: int) -> None:
        super().__init__()
        self.width, self.times = dim, config.times
        self.blocks = nn.ModuleList(_Block(config, dim, length) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(dim)
        nn.init.constant_(self.norm.weight, dim**-0.5)

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:
        x, since = events * self.width**0.5, time_since(clock) if self.times else None
        for block in self.blocks:
            x = block(x, since)
        states: Tensor = self.norm(x)
        return states


class _Block(nn.Module):
    def __init__(self, config: HstuHistory, dim: int, length: int) -> None:
        super().__init__()
        self.before, self.after = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.wide, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim)
        self.attention = CausalAttention(config.heads, length, Weighting.silu, config.times)
        self.dropout = ByteDropout(config.dropout)

    def forward(self, x: Float[Tensor, "b h d"], since: UInt8[Tensor, "b h h"] | None) -> Float[Tensor, "b h d"]:
        gate, query, key, value = functional.silu(self.wide(self.before(x))).chunk(4, dim=-1)
        many = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)[:, None]
        pooled = self.after(self.attention(query, key, value, since) / many)
        joined: Tensor = x + self.dropout(self.out(pooled * gate))
        return joined
