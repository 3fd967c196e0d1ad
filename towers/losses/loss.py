"""What a loss is: logits of a few candidates, one of them right, to one number."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(kw_only=True)
class Loss(ABC):
    """A function of logits. It knows neither towers nor batches.

    Contract, held by tests/contracts/test_losses.py: the sum over positions of weight × a
    finite number; falls when the target's logit rises; unmoved by the order of the other
    candidates; a candidate of logit -inf counts for nothing; a position of weight 0 neither.
    """

    corrected: ClassVar[bool] = False
    """Whether log q is taken off the scores: right for a loss that sums exp(score) over the candidates."""
    tempered: ClassVar[bool] = True
    """Whether scores are divided by the temperature; a loss that is not tempered sees the cosines themselves."""

    def over(self, log_q: Float[Tensor, " m"]) -> "Loss":  # noqa: ARG002 - for those who care
        """Return the loss to use over candidates that were drawn so; most do not care.

        Args:
            log_q: Natural log of the probability that the draw holds each, [m]; +inf is no candidate.
        """
        return self

    @abstractmethod
    def __call__(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Return the weighted sum of the positions' losses.

        Args:
            logits: Scores, tempered and corrected as the loss asks, [n, m]; -inf is no candidate.
            target: Column of the right candidate, [n].
            weight: What each position counts, [n]; ≥ 0.

        Returns:
            A sum, not a mean: sums of parts add up, so a batch may be cut into parts.
        """

    def with_slope(
        self, logits: Float[Tensor, "n m"], target: Int64[Tensor, " n"], weight: Float[Tensor, " n"]
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n m"]]:
        """Return the loss and its derivative by each logit, [n, m]; may use up the logits.

        A loss with a short formula for its slope overrides this: autograd goes over the logits several
        times more. The slope has the logits' precision, which may be bfloat16.
        """
        free = logits.detach().float().requires_grad_()
        with torch.enable_grad():
            value = self(free, target, weight)
        (slope,) = torch.autograd.grad(value, free)
        return value.detach(), slope.to(logits.dtype)


def each_at(column: Int64[Tensor, " n"]) -> tuple[Tensor, Tensor]:
    """Return the index of one column in each row: writing there in place, where scatter_ would copy the whole matrix.

    Example:
        >>> logits = torch.zeros(2, 2)
        >>> logits[each_at(torch.tensor([1, 0]))] = 7.0
        >>> logits.tolist()
        [[0.0, 7.0], [7.0, 0.0]]
    """
    return torch.arange(len(column), device=column.device), column
