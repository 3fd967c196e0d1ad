"""Bayesian personalised ranking: the right candidate before each other one, pair by pair."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from towers.losses.loss import Loss


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
        right = logits.gather(1, target[:, None])
        other = torch.isfinite(logits).scatter(1, target[:, None], value=False)
        gaps = torch.where(other, right - logits, torch.zeros_like(logits))
        each = torch.where(other, functional.softplus(-gaps), torch.zeros_like(gaps))
        return torch.dot(each.sum(1) / other.sum(1).clamp(min=1), weight)
