"""Bayesian personalised ranking: the right candidate before each other one, pair by pair."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from towers.losses.loss import Loss, each_at


@dataclass(kw_only=True)
class Bpr(Loss):
    """Mean over the other candidates of -log sigmoid(right - other).

    Recommendation: a reference to compare with; it weighs an easy pair like a hard one, so the
    head of the list learns slowly and :class:`towers.losses.softmax.Softmax` does better.

    Source:
        Rendle et al. 2009, BPR: Bayesian Personalized Ranking from Implicit Feedback, section 4.1.

    Example:
        >>> round(float(Bpr()(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), torch.ones(1))), 4)
        0.1269
    """

    def __call__(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return Σ weight × mean pair loss; see :class:`Loss`."""
        gaps = (logits - logits.gather(1, target[:, None])).scatter(1, target[:, None], -torch.inf)
        each = functional.softplus(gaps).sum(1) / gaps.isfinite().sum(1).clamp(min=1)
        return torch.dot(each, weight)

    def with_slope(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n m"]]:
        """Return the loss and its slope, how likely each pair stands wrong, over the logits; see :class:`Loss`."""
        gaps = logits.sub_(logits.gather(1, target[:, None]))
        gaps[each_at(target)] = -torch.inf
        share = weight[:, None] / (gaps > -torch.inf).sum(1, keepdim=True).clamp(min=1)
        each = functional.softplus(gaps).sum(1, keepdim=True, dtype=torch.float32)
        slope = gaps.sigmoid_().mul_(share.to(gaps.dtype))
        back = slope.sum(1, keepdim=True, dtype=torch.float32)
        slope[each_at(target)] = -back[:, 0].to(slope.dtype)
        return torch.dot(each[:, 0], share[:, 0]), slope
