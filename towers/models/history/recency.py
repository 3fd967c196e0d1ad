"""Means of what was watched that weigh by how long ago."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.kinds import check_kinds
from towers.models.history.encoder import Clock, History, HistoryEncoder, at_least_one, within


@dataclass(kw_only=True)
class RecencyHistory(History):
    """Several weighted means of the events, each with learned weights by how long ago an event is.

    A head's weight of the event n steps back is exp(w[n]), the same at every place, so a head can
    look at the last three events, another at all. The start weighs exp(s): it stands for what is
    liked before anything is known and fades as the history grows.

    Recommendation: the first choice where order is known; as fast as a mean.

    Source:
        Learned positional weights as in Sun et al. 2019 (BERT4Rec) section 3.3, on pooling.
    """

    heads: int = 4
    """Weighted means; each is a vector of the full width."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.history.")
        at_least_one(heads=self.heads)

    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return the encoder."""
        return _Recency(dim, length, self.heads)


class _Recency(HistoryEncoder):
    def __init__(self, dim: int, length: int, heads: int) -> None:
        super().__init__()
        self.width = dim * heads
        fade = torch.logspace(0, -2, heads)[:, None] if heads > 1 else torch.full((1, 1), 0.1)
        self.log_weight = nn.Parameter(-fade * torch.arange(length + 1))
        self.log_start = nn.Parameter(torch.zeros(heads))

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:  # noqa: ARG002
        count = events.shape[1]
        within(count, self.log_weight.shape[1] - 1)
        place = torch.arange(count, device=events.device)
        back = place[:, None] - place[None, :]
        weights = self.log_weight[:, back.clamp(min=0)]
        weights[:, :, 0] = self.log_start[:, None]
        weights = weights.masked_fill(back < 0, -torch.inf).softmax(-1)
        return torch.einsum("kts,bsd->btkd", weights, events).flatten(2)
