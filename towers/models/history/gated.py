"""A transformer over what was watched whose layers are let in through learned gates."""

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
class GatedHistory(History):
    """Pre-norm attention and SwiGLU layers; a gate per coordinate says how much of each is added.

    Normalised by root mean square. A gate is the logistic function of a linear map of the layer's
    normalised input, so that the gate, too, comes out of the layer's one product. Positions are
    distances, as in :class:`TransformerHistory`, and for the same reasons.

    Recommendation: instead of :class:`TransformerHistory` where there are more than two blocks or
    millions of events; takes about twice as long.

    Source:
        Borisyuk et al. 2025, From Features to Transformers (LiGR): gated residual branches;
        Shazeer 2020, GLU Variants Improve Transformer, eq. 6: SwiGLU.
    """

    blocks: int = 2
    """Attention and feed-forward layers, one after the other."""
    heads: int = 2
    """Heads of each attention; they share out the width."""
    expand: int = 2
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
        return _Gated(self, dim, length)


class _Gated(HistoryEncoder):
    def __init__(self, config: GatedHistory, dim: int, length: int) -> None:
        super().__init__()
        self.width, self.times = dim, config.times
        self.blocks = nn.ModuleList(_Block(config, dim, length) for _ in range(config.blocks))
        self.norm = nn.RMSNorm(dim)
        nn.init.constant_(self.norm.weight, dim**-0.5)

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:
        x, since = events * self.width**0.5, time_since(clock) if self.times else None
        for block in self.blocks:
            x = block(x, since)
        states: Tensor = self.norm(x)
        return states


class _Block(nn.Module):
    def __init__(self, config: GatedHistory, dim: int, length: int) -> None:
        super().__init__()
        hidden = config.expand * dim
        self.attend_sizes, self.forward_sizes = [dim] * 4, [hidden, hidden, dim]
        self.before_attention, self.before_forward = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.attend, self.out = nn.Linear(dim, 4 * dim), nn.Linear(dim, dim, bias=False)
        self.attention = CausalAttention(config.heads, length, times=config.times)
        self.wide, self.narrow = nn.Linear(dim, 2 * hidden + dim), nn.Linear(hidden, dim, bias=False)
        self.dropout = ByteDropout(config.dropout)

    def forward(self, x: Float[Tensor, "b h d"], since: UInt8[Tensor, "b h h"] | None) -> Float[Tensor, "b h d"]:
        query, key, value, gate = self.attend(self.before_attention(x)).split(self.attend_sizes, dim=-1)
        x = x + self.dropout(self.out(self.attention(query, key, value, since)) * gate.sigmoid())
        up, bend, gate = self.wide(self.before_forward(x)).split(self.forward_sizes, dim=-1)
        joined: Tensor = x + self.dropout(self.narrow(up * functional.silu(bend)) * gate.sigmoid())
        return joined
