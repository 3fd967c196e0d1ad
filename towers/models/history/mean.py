"""The mean of what was watched."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from towers.models.history.encoder import Clock, History, HistoryEncoder


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

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:  # noqa: ARG002
        count = torch.arange(1, events.shape[1] + 1, device=events.device, dtype=events.dtype)
        return events.cumsum(1) / count[:, None]
