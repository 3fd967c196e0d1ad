"""History encoders: what a user watched, in order, to a state after each event. All causal."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.types import ConfigError


class HistoryEncoder(nn.Module, ABC):
    """Events to states.

    Contract, held by tests/contracts/test_history_encoders.py: `forward` maps [b, h, d] to
    [b, h, width], and state t depends on events ≤ t alone. Event 0 of every window is the learned
    start, so the state of an empty history is the state 0.
    """

    width: int
    """Size of a state."""

    @abstractmethod
    def forward(self, events: Float[Tensor, "b h d"]) -> Float[Tensor, "b h w"]:
        """Return the state after each event."""


@dataclass(kw_only=True)
class History(ABC):
    """A kind of history encoder and its options."""

    @abstractmethod
    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return an encoder of events of size dim, at most length of them and the start."""


@dataclass(kw_only=True)
class MeanHistory(History):
    """The mean of the events: order does not count.

    Recommendation: for logs whose order is unknown; elsewhere :class:`RecencyHistory`.

    Source:
        Covington et al. 2016, Deep Neural Networks for YouTube Recommendations, section 3.2.
    """

    def build(self, dim: int, length: int) -> HistoryEncoder:  # noqa: ARG002 - a mean has no length
        """Return the encoder."""
        return _Mean(dim)


class _Mean(HistoryEncoder):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = dim

    def forward(self, events: Float[Tensor, "b h d"]) -> Float[Tensor, "b h w"]:
        count = torch.arange(1, events.shape[1] + 1, device=events.device, dtype=events.dtype)
        return events.cumsum(1) / count[:, None]


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
        if self.heads < 1:
            raise ConfigError(f"history.heads is {self.heads}; expected at least 1")

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

    def forward(self, events: Float[Tensor, "b h d"]) -> Float[Tensor, "b h w"]:
        count = events.shape[1]
        if count > self.log_weight.shape[1]:
            raise ConfigError(f"a history of {count - 1} events; these towers read {self.log_weight.shape[1] - 1}")
        place = torch.arange(count, device=events.device)
        back = place[:, None] - place[None, :]
        weights = self.log_weight[:, back.clamp(min=0)]
        weights[:, :, 0] = self.log_start[:, None]
        weights = weights.masked_fill(back < 0, -torch.inf).softmax(-1)
        return torch.einsum("kts,bsd->btkd", weights, events).flatten(2)


HISTORIES: dict[str, type[History]] = {"recency": RecencyHistory, "mean": MeanHistory}
