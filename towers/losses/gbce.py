"""Generalised binary cross-entropy: each candidate a yes or no, calibrated for how few of the others were drawn."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional

from towers.kinds import check_kinds
from towers.losses.loss import Loss, each_at
from towers.types import ConfigError


@dataclass(kw_only=True)
class Gbce(Loss):
    """Binary cross-entropy of the right candidate and of all others, the right one's probability to a power below 1.

    With only a share of the catalogue drawn, plain cross-entropy learns that everything is right.
    The power 1 - calibration × (1 - rate) takes that back: at calibration 1 the probabilities are
    those of training with all candidates, at 0 it is the plain loss.

    Towers have no bias with which to say that most videos are not it, so one is added: without it
    they would first have to learn to put users and videos on opposite sides.

    Recommendation: evenly drawn candidates (sampler `uniform`); where the catalogue is small enough to
    score all of it, :class:`towers.losses.softmax.Softmax` does better in less time.

    Source:
        Petrov and Macdonald 2023, gSASRec: Reducing Overconfidence in Sequential Recommendation
        Trained with Negative Sampling, section 5; `calibration` is their t, and their
        β = α (t (1 - 1/α) + 1/α) is the same as 1 - t (1 - α). The bias is that of Zhai et al. 2023,
        Sigmoid Loss for Language Image Pre-Training, section 3.2, but not trained; theirs is 0.

    Example:
        >>> logits, first = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
        >>> round(float(Gbce(rate=1.0)(logits, first, torch.ones(1))), 4)
        0.41
        >>> round(float(Gbce(rate=0.1, calibration=1.0)(logits, first, torch.ones(1))), 4)
        0.3529
    """

    calibration: float = 0.75
    """From 0, plain cross-entropy, to 1, probabilities as if every video had been a candidate."""
    rate: float | None = None
    """Share of the catalogue that a step is scored against, above 0; null takes it from the sampler's draw."""
    bias: float | None = None
    """Added to every score; null is minus the log of the number of other candidates."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "loss.")
        if not 0 <= self.calibration <= 1:
            raise ConfigError(f"loss.calibration is {self.calibration}; expected from 0 to 1")
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ConfigError(f"loss.rate is {self.rate}; expected above 0, at most 1, or null")

    def over(self, log_q: Float[Tensor, " m"]) -> "Gbce":
        """Return the loss with the rate of a draw: m over Σ 1/q, which estimates how many there were to draw from."""
        drawn = log_q[log_q <= 0]
        if self.rate is not None or not len(drawn):
            return self
        return replace(self, rate=min(1.0, len(drawn) / float(torch.exp(-drawn.double()).sum())))

    @property
    def power(self) -> float:
        """Power of the right candidate's probability."""
        return 1 - self.calibration * (1 - (1.0 if self.rate is None else self.rate))

    def __call__(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return Σ weight × mean over the candidates of their cross-entropy; see :class:`Loss`."""
        count = logits.isfinite().sum(1, keepdim=True)
        biased = logits + self._bias(count)
        right = biased.gather(1, target[:, None])[:, 0]
        others = biased.scatter(1, target[:, None], -torch.inf)
        each = self.power * functional.softplus(-right) + functional.softplus(others).sum(1)
        return torch.dot(each, weight / count[:, 0])

    def with_slope(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n m"]]:
        """Return the loss and its slope, the probability of each other, over the logits; see :class:`Loss`."""
        count = (logits > -torch.inf).sum(1, keepdim=True)
        biased = logits.add_(self._bias(count).to(logits.dtype))
        right, share = biased.gather(1, target[:, None]).float(), weight[:, None] / count
        biased[each_at(target)] = -torch.inf
        each = functional.softplus(biased).sum(1, keepdim=True, dtype=torch.float32)
        each += self.power * functional.softplus(-right)
        slope = biased.sigmoid_().mul_(share.to(biased.dtype))
        slope[each_at(target)] = (-self.power * torch.sigmoid(-right) * share)[:, 0].to(slope.dtype)
        return torch.dot(each[:, 0], share[:, 0]), slope

    def _bias(self, count: Int64[Tensor, "n 1"]) -> Float[Tensor, "n 1"]:
        """Return what is added to each row's scores, given how many candidates it has."""
        return (
            torch.full_like(count, self.bias, dtype=torch.float32)
            if self.bias is not None
            else -torch.log((count - 1).clamp(min=1))
        )
