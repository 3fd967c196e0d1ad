"""From vectors to a loss in one visible sequence, a part at a time so that logits stay in the cache.

scores → temperature → log q of the sample → known positives out → target back in → loss
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from towers.losses.loss import Loss
from towers.types import ConfigError

LOGITS_AT_ONCE = 2**19
"""Logits of one part: 8 MB of float32, so that one core's share of the cache holds them."""


@dataclass(frozen=True)
class CandidateSet:
    """The distinct videos that a whole batch is scored against.

    Attributes:
        vectors: Of the videos, [m, d].
        log_q: Natural log of the probability that the sample holds the video, [m]; ≤ 0, and 0
            for certain. +inf marks a video that is in the batch only as history.
        known: What each window's user is known to like, [b, m]; never a negative for that user.
    """

    vectors: Float[Tensor, "m d"]
    log_q: Float[Tensor, " m"]
    known: Bool[Tensor, "b m"]


def subtract_log_q(logits: Float[Tensor, "n m"], log_q: Float[Tensor, " m"]) -> Float[Tensor, "n m"]:
    """Return logits corrected for how often each candidate is drawn.

    A video that enters the sample with probability q stands for 1/q like it, so its share of the
    softmax's denominator is exp(logit) / q: an unbiased estimate of the full sum. log_q = +inf
    takes a candidate out.

    Args:
        logits: Scores over temperature, [n, m].
        log_q: Natural log of each candidate's inclusion probability, [m].

    Source:
        Horvitz and Thompson 1952, on sums from samples of unequal probability; Yi et al. 2019,
        Sampling-bias-corrected neural modeling, section 3.2, for in-batch softmax. The target
        itself is in the set for certain, so it is not corrected: Khrylchenko et al. 2025,
        Correcting the LogQ Correction.

    Example:
        >>> subtract_log_q(torch.zeros(1, 2), torch.tensor([0.5, 0.25]).log()).tolist()
        [[0.6931..., 1.3862...]]
    """
    return logits - log_q


def corrected_logits(
    queries: Float[Tensor, "n d"],
    target: Int64[Tensor, " n"],
    window: Int64[Tensor, " n"],
    candidates: CandidateSet,
    scale: Float[Tensor, ""],
) -> Float[Tensor, "n m"]:
    """Return what a loss sees: [n, m] logits, -inf where a column is no candidate for a row.

    Args:
        queries: User vectors, [n, d].
        target: Column of each row's right video, [n].
        window: Row of `candidates.known` that belongs to each query, [n].
        candidates: The shared candidates.
        scale: 1 / temperature, a scalar.
    """
    scaled = queries * scale
    right = (scaled * candidates.vectors[target]).sum(1, keepdim=True)
    logits = subtract_log_q(scaled @ candidates.vectors.T, candidates.log_q)
    logits.masked_fill_(candidates.known[window], -torch.inf)
    return logits.scatter_(1, target[:, None], right)


def candidate_loss(
    loss: Loss,
    queries: Float[Tensor, "b h d"],
    target: Int64[Tensor, "b h"],
    weight: Float[Tensor, "b h"],
    candidates: CandidateSet,
    scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Return the weighted mean loss of every position of a batch of windows.

    Each part's gradients are taken while its logits are still in the cache, so memory is that of
    one part and nothing is computed twice.

    Args:
        loss: A loss over logits.
        queries: State of the user before each target, [b, h, d].
        target: Column of each position's video in `candidates`, [b, h]; where weight is 0, anything.
        weight: What each position counts, [b, h]; 0 leaves it out.
        candidates: What the batch is scored against.
        scale: 1 / temperature, a scalar.

    Raises:
        ConfigError: All weights are 0.
    """
    places = weight.flatten().nonzero()[:, 0]
    if not len(places):
        raise ConfigError("every position of the batch has weight 0; data.weight must be above 0 for some positives")
    chosen = queries.flatten(0, 1)[places]
    rows, right, amount = places // target.shape[1], target.flatten()[places], weight.flatten()[places]
    step = max(1, LOGITS_AT_ONCE // candidates.vectors.shape[0])

    def part(at: slice, q: Tensor, vectors: Tensor, factor: Tensor) -> Tensor:
        shared = CandidateSet(vectors, candidates.log_q, candidates.known)
        return loss(corrected_logits(q, right[at], rows[at], shared, factor), right[at], amount[at])

    parts = [slice(start, start + step) for start in range(0, len(places), step)]
    total: Tensor = _SumOfParts.apply(  # type: ignore[no-untyped-call]  # torch leaves apply untyped
        part, parts, chosen, candidates.vectors, scale
    )
    return total / amount.sum()


class _SumOfParts(torch.autograd.Function):
    """Σ over parts of f(part), whose gradients are taken part by part in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own context object
        part: Callable[[slice, Tensor, Tensor, Tensor], Tensor],
        parts: list[slice],
        queries: Tensor,
        vectors: Tensor,
        scale: Tensor,
    ) -> Tensor:
        total = torch.zeros((), device=queries.device)
        d_queries = torch.zeros_like(queries)
        d_vectors, d_scale = torch.zeros_like(vectors), torch.zeros_like(scale)
        fixed = [x.detach().requires_grad_() for x in (vectors, scale)]
        for at in parts:
            with torch.enable_grad():
                q = queries[at].detach().requires_grad_()
                value = part(at, q, *fixed)
            grads = torch.autograd.grad(value, (q, *fixed))
            total += value.detach()
            d_queries[at] = grads[0]
            d_vectors += grads[1]
            d_scale += grads[2]
        ctx.save_for_backward(d_queries, d_vectors, d_scale)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, None, Tensor, Tensor, Tensor]:  # noqa: ANN401
        d_queries, d_vectors, d_scale = ctx.saved_tensors
        return None, None, d_queries * outer[0], d_vectors * outer[0], d_scale * outer[0]
