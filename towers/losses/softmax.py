"""Cross-entropy over the candidates: the full softmax, or the sampled one."""

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
class Softmax(Loss):
    """-log of the probability that a softmax over the candidates gives to the right one.

    Over the whole catalogue it is the full softmax; over drawn candidates, corrected for how
    they were drawn (:func:`towers.losses.scoring.candidate_loss`), an estimate of it.

    Recommendation: the first choice. Sampler `catalogue` up to some ten thousand videos,
    `mixed` beyond.

    Source:
        Covington et al. 2016, Deep Neural Networks for YouTube Recommendations, section 3.2.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> round(float(Softmax()(logits, torch.tensor([0]), torch.ones(1))), 4)
        0.1269
    """

    corrected: ClassVar[bool] = True

    label_smoothing: float = 0.0
    """Share of the target's probability that is spread evenly over all candidates, in [0, 1). Recommendation: 0; on
    KuaiRand .1 is no better (recall@100 .414, .419 without, ± .008; dim 64, one seed). Source: Szegedy et al. 2016,
    Rethinking the Inception Architecture for Computer Vision, section 7."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "loss.")
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"loss.label_smoothing is {self.label_smoothing}; expected at least 0 and below 1")

    def __call__(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return Σ weight × cross-entropy; see :class:`Loss`."""
        each = functional.cross_entropy(logits, target, reduction="none")
        if self.label_smoothing:
            log_p = logits.log_softmax(1)
            real = log_p.isfinite()
            spread = -log_p.masked_fill(~real, 0.0).sum(1) / real.sum(1)
            each = (1 - self.label_smoothing) * each + self.label_smoothing * spread
        return torch.dot(each, weight)

    def with_slope(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n m"]]:
        """Return the loss and weight × (softmax - target), written over the logits; see :class:`Loss`."""
        if self.label_smoothing:
            return super().with_slope(logits, target, weight)
        shares = torch.softmax(logits, 1, out=logits)
        right = each_at(target)
        of_target = shares[right].float()
        shares[right] = (of_target - 1).to(shares.dtype)
        if weight.is_cuda or (weight != 1).any():  # asking a GPU would cost more than the product
            shares.mul_(weight[:, None].to(shares.dtype))
        return torch.dot(-of_target.clamp(min=torch.finfo(torch.float32).tiny).log(), weight), shares
