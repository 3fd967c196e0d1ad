"""Attention from the last event over what was watched: one layer, no feed-forward."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.kinds import check_kinds
from towers.models.history.attention import CausalAttention
from towers.models.history.encoder import Clock, History, HistoryEncoder, at_least_one, divides
from towers.models.history.since import time_since


@dataclass(kw_only=True)
class AttentionHistory(History):
    """Several means of the events, weighted by how long ago an event is and how it fits the last one.

    A head's logit of an event is a learned term for its distance, as in :class:`RecencyHistory`,
    and the product of a linear map of the event with one of the last event; the bias of the latter
    is a query that all users share. What is averaged are the events themselves.

    Recommendation: where tastes within one history differ, so that the last event says which part of
    it counts, and a transformer is too slow or has too few events to learn from. Two heads take
    about half as long as a transformer of two blocks.

    Source:
        Zhou et al. 2018, Deep Interest Network, section 4.3, with the last event in the candidate's
        place; weights as in Kang and McAuley 2018 (SASRec) eq. 2.
    """

    heads: int = 2
    """Weighted means; each is a vector of the full width."""
    times: bool = False
    """Whether an event's weight also depends on how long before the request, or the last event, it happened."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.history.")
        at_least_one(heads=self.heads)

    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return the encoder."""
        divides(dim, self.heads)
        return _Attention(self, dim, length)


class _Attention(HistoryEncoder):
    def __init__(self, config: AttentionHistory, dim: int, length: int) -> None:
        super().__init__()
        heads = config.heads
        self.width, self.times = dim * heads, config.times
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim, bias=False)
        self.attention = CausalAttention(heads, length, times=config.times)
        fade = torch.logspace(0, -2, heads)[:, None] if heads > 1 else torch.full((1, 1), 0.1)
        self.attention.by_distance.data = -fade * torch.arange(length + 1)

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:
        scaled = events * events.shape[-1] ** 0.5
        query, key = self.query(scaled), self.key(scaled)
        since = time_since(clock) if self.times else None
        return self.attention(query, key, events.to(query.dtype).repeat(1, 1, self.attention.heads), since)
