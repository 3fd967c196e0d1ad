"""Cosine contrastive loss: the right candidate near, and nothing else nearer than a margin."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from towers.kinds import check_kinds
from towers.losses.loss import Loss, each_at
from towers.types import ConfigError


@dataclass(kw_only=True)
class Contrastive(Loss):
    """1 - cosine of the right candidate, plus the mean over the others of how far their cosine is above a margin.

    What is below the margin counts for nothing, so that the many easy others do not drown the few hard ones.

    Recommendation: sets without an order (`shuffle=true`, model/history=mean) with a thousand
    candidates or more. Try margins from .4 to .9 and weights from 10 to 1,000; with fewer
    candidates or a lower margin, less weight. It takes no temperature and needs cosines.

    Source:
        Mao et al. 2021, SimpleX: A Simple and Strong Baseline for Collaborative Filtering, eq. 1.

    Example:
        >>> cosines = torch.tensor([[0.8, 0.95, 0.2]])
        >>> round(float(Contrastive(negative_weight=10.0)(cosines, torch.tensor([0]), torch.ones(1))), 4)
        0.45
    """

    tempered: ClassVar[bool] = False

    margin: float = 0.9
    """Cosine up to which another candidate costs nothing, from 0 and below 1."""
    negative_weight: float = 150.0
    """What the mean of the other candidates counts beside the right one; above 0."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "loss.")
        if not 0 <= self.margin < 1:
            raise ConfigError(f"loss.margin is {self.margin}; expected at least 0 and below 1")
        if not self.negative_weight > 0:
            raise ConfigError(f"loss.negative_weight is {self.negative_weight}; expected above 0")

    def __call__(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return Σ weight × (1 - right + negative_weight × mean hinge); see :class:`Loss`."""
        right = logits.gather(1, target[:, None])[:, 0]
        others = logits.scatter(1, target[:, None], -torch.inf)
        above = functional.relu(others - self.margin).sum(1)
        each = 1 - right + self.negative_weight * above / others.isfinite().sum(1).clamp(min=1)
        return torch.dot(each, weight)

    def with_slope(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n m"]]:
        """Return the loss and, written over the logits, its slope: a constant above the margin; see :class:`Loss`."""
        right = logits.gather(1, target[:, None]).float()
        logits[each_at(target)] = -torch.inf
        share = self.negative_weight / (logits > -torch.inf).sum(1, keepdim=True).clamp(min=1)
        above = logits.sub_(self.margin).clamp_(min=0)
        each = 1 - right + share * above.sum(1, keepdim=True, dtype=torch.float32)
        slope = above.sign_().mul_((share * weight[:, None]).to(above.dtype))
        slope[each_at(target)] = -weight.to(slope.dtype)
        return torch.dot(each[:, 0], weight), slope
