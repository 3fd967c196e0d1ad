"""A transformer over what was watched."""

from dataclasses import dataclass

from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from towers.kinds import check_kinds
from towers.models.history.attention import CausalAttention
from towers.models.history.dropout import ByteDropout
from towers.models.history.encoder import Clock, History, HistoryEncoder, a_share, at_least_one, divides
from towers.models.history.since import time_since


@dataclass(kw_only=True)
class TransformerHistory(History):
    """Causal self-attention and small feed-forward layers in turn, as in SASRec.

    As in the implementations that reach the published numbers, what goes on past a layer is its
    normalised input, and attention's keys and values come from the input as it is.

    An event's position counts from the query back: each head of each block learns a term of its
    logits for every distance. SASRec's vectors for places from the window's start would say another
    thing in each window of a long history, and serving, which reads the last events, would ask
    almost only for the last place, which training rarely does.

    Recommendation: where order within a session or a taste that changes matters and there are
    hundreds of thousands of events; takes about three times as long as :class:`RecencyHistory`.

    Source:
        Kang and McAuley 2018, Self-Attentive Sequential Recommendation, section 3; distances as in
        Raffel et al. 2020 (T5) section 2.1.
    """

    blocks: int = 2
    """Attention and feed-forward layers, one after the other."""
    heads: int = 1
    """Heads of each attention; they share out the width."""
    expand: int = 1
    """Width of a feed-forward layer's hidden units, in widths of a vector."""
    dropout: float = 0.2
    """Share of each layer's outputs that a step leaves out."""
    times: bool = False
    """Whether an event's weight also depends on how long before the request, or the last event, it happened."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.history.")
        at_least_one(blocks=self.blocks, heads=self.heads, expand=self.expand)
        a_share(dropout=self.dropout)

    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return the encoder."""
        divides(dim, self.heads)
        return _Transformer(self, dim, length)


class _Transformer(HistoryEncoder):
    def __init__(self, config: TransformerHistory, dim: int, length: int) -> None:
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
    def __init__(self, config: TransformerHistory, dim: int, length: int) -> None:
        super().__init__()
        self.before_attention, self.before_forward = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)
        self.attention = CausalAttention(config.heads, length, times=config.times)
        self.wide, self.narrow = nn.Linear(dim, config.expand * dim), nn.Linear(config.expand * dim, dim)
        self.dropout = ByteDropout(config.dropout)

    def forward(self, x: Float[Tensor, "b h d"], since: UInt8[Tensor, "b h h"] | None) -> Float[Tensor, "b h d"]:
        normed = self.before_attention(x)
        key, value = self.key_value(x).chunk(2, dim=-1)
        x = normed + self.dropout(self.out(self.attention(self.query(normed), key, value, since)))
        normed = self.before_forward(x)
        hidden = self.dropout(functional.relu(self.wide(normed)))
        joined: Tensor = normed + self.dropout(self.narrow(hidden))
        return joined
