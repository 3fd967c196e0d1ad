"""From vectors to a loss in one visible sequence, a part at a time so that logits stay in the cache.

scores → temperature → log q of the sample → known positives out → target back in → loss

Only what was drawn has a column: what a batch holds as history or target alone costs no products.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional

from towers.losses.loss import Loss, each_at
from towers.types import ConfigError

LOGITS_AT_ONCE = 2**20
"""Logits of one part: 4 MB of float32, so that one core's share of the cache holds them."""
ON_A_GPU = 2**26
"""The same there, where a part costs the start of a dozen kernels: as many as memory allows without a thought."""


@dataclass(frozen=True)
class CandidateSet:
    """The distinct videos that a whole batch is scored against.

    Attributes:
        vectors: Of the videos, [m, d].
        log_q: Natural log of the probability that the sample holds the video, [m]; ≤ 0, and 0
            for certain. +inf marks a video that is in the batch only as history or target.
        known: What each window's user is known to like, [b, m]; never a negative for that user.
        bonus: Added to a window's scores: the log of how many others each video counts for, [b, m]; None for one.
        sizes: How many targets count and how many videos were drawn; None: found out, for which a GPU must be
            waited for.
    """

    vectors: Float[Tensor, "m d"]
    log_q: Float[Tensor, " m"]
    known: Bool[Tensor, "b m"]
    bonus: Float[Tensor, "b m"] | None = None
    sizes: tuple[int, int] | None = None

    @cached_property
    def drawn(self) -> Int64[Tensor, " k"]:
        """Places of the videos that the sample holds, [k]."""
        return _places(self.log_q < torch.inf, self.sizes and self.sizes[1])

    def columns(self, precision: torch.dtype, corrected: bool) -> "CandidateSet":
        """Return what was drawn and, after it, one blank that is nobody's candidate, [k + 1].

        Args:
            precision: Of the vectors that are returned, without their gradients.
            corrected: Whether log q counts; where it does not, all were drawn alike.
        """
        vectors = self.vectors.new_zeros(len(self.drawn) + 1, self.vectors.shape[1], dtype=precision)
        vectors[:-1] = self.vectors.detach()[self.drawn]
        log_q = self.log_q.new_full([len(vectors)], torch.inf)
        log_q[:-1] = self.log_q[self.drawn] if corrected else 0
        bonus = None if self.bonus is None else self._with_blank(self.bonus)
        return CandidateSet(vectors, log_q, self._with_blank(self.known), bonus)

    def _with_blank(self, of_all: Tensor) -> Tensor:
        return functional.pad(of_all[:, self.drawn], (0, 1))

    def column(self, videos: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
        """Return the column of each video in `columns`: the blank for one that was not drawn."""
        column = torch.full_like(self.log_q, len(self.drawn), dtype=torch.int64)
        column[self.drawn] = torch.arange(len(self.drawn), device=column.device)
        return column[videos]

    @cached_property
    def offset(self) -> Float[Tensor, "b m"]:
        """What is added to a window's scores, [b, m]: -log q, or -inf where there is no candidate."""
        counted = -self.log_q if self.bonus is None else self.bonus - self.log_q
        return counted.masked_fill(self.known, -torch.inf).to(self.vectors.dtype)


def corrected_logits(
    scaled: Float[Tensor, "n d"],
    right: tuple[Int64[Tensor, " n"], Float[Tensor, " n"]],
    window: Int64[Tensor, " n"],
    candidates: CandidateSet,
    out: Float[Tensor, "n m"] | None = None,
) -> Float[Tensor, "n m"]:
    """Return what a loss sees: [n, m] logits, -inf where a column is no candidate for a row.

    A video that enters the sample with probability q stands for 1/q like it, so log q is taken off
    its score: its share of the softmax's denominator becomes exp(score) / q, and the sum an
    unbiased estimate of the full one. The target is in the set for certain and is not corrected.

    Args:
        scaled: User vectors over temperature, [n, d].
        right: Column of each row's right video, [n], and its score, [n].
        window: Row of `candidates.known` that belongs to each query, [n].
        candidates: The shared candidates.
        out: Where to write.

    Returns:
        Logits in the candidates' precision.

    Source:
        Horvitz and Thompson 1952, on sums from samples of unequal probability; Yi et al. 2019,
        Sampling-bias-corrected neural modeling, section 3.2, for in-batch softmax; on the target,
        Khrylchenko et al. 2025, Correcting the LogQ Correction.

    Example:
        >>> vectors, known = torch.tensor([[1.0], [0.0], [2.0]]), torch.tensor([[False, False, True]])
        >>> candidates = CandidateSet(vectors, torch.tensor([0.5, 0.25, 1.0]).log(), known)
        >>> first = torch.zeros(1, dtype=torch.int64)
        >>> corrected_logits(torch.ones(1, 1), (first, torch.ones(1)), first, candidates).tolist()
        [[1.0, 1.3862..., -inf]]
    """
    # The product is added onto corrections and masks: each in a pass of its own would cost as much as the product.
    logits = torch.index_select(candidates.offset, 0, window, out=out).addmm_(scaled, candidates.vectors.T)
    column, score = right
    logits[each_at(column)] = score.to(logits.dtype)
    return logits


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
    one part and nothing is computed twice. Under `torch.autocast` the products and the logits have
    its precision; targets' scores, sums, and the vectors' gradients stay in float32.

    Args:
        loss: A loss over logits; log q is taken off only where the loss asks for it.
        queries: State of the user before each target, [b, h, d].
        target: Place of each position's video in `candidates`, [b, h]; where weight is 0, anything.
        weight: What each position counts, [b, h]; 0 leaves it out.
        candidates: What the batch is scored against.
        scale: 1 / temperature, a scalar.

    Raises:
        ConfigError: All weights are 0.
    """
    places = _places(weight.flatten() != 0, candidates.sizes and candidates.sizes[0])
    if not len(places):
        raise ConfigError("every position of the batch has weight 0; data.weight must be above 0 for some positives")
    rows, right, amount = places // target.shape[1], target.flatten()[places], weight.flatten()[places]
    device = queries.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else torch.float32
    loss = loss.over(candidates.log_q)

    shared, column = candidates.columns(precision, loss.corrected), candidates.column(right)
    step = max(1, (ON_A_GPU if queries.is_cuda else LOGITS_AT_ONCE) // len(shared.log_q))
    room = torch.empty(min(step, len(places)), len(shared.log_q), dtype=precision, device=queries.device)

    def of_part(at: slice, left: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        logits = corrected_logits(left, (column[at], score), rows[at], shared, room[: len(left)])
        return loss.with_slope(logits, column[at], amount[at])

    slices = [slice(start, start + step) for start in range(0, len(places), step)]
    parts = _Parts(of_part, slices, shared.vectors, candidates.drawn, right, column)
    with torch.autocast(device, enabled=False):
        scaled = queries.flatten(0, 1)[places].float() * (scale if loss.tempered else 1.0)
        total: Tensor = _SumOfParts.apply(  # type: ignore[no-untyped-call]  # torch leaves apply untyped
            parts, scaled, candidates.vectors.float()
        )
        return total / amount.sum()


def _places(wanted: Bool[Tensor, " n"], count: int | None) -> Int64[Tensor, " k"]:
    """Return where something is true; who knows how often it is spares the wait for a GPU to tell."""
    found: Tensor = wanted.nonzero() if count is None else torch.nonzero_static(wanted, size=count)
    return found[:, 0]


@dataclass(frozen=True)
class _Parts:
    """A batch's targets, a part after the other.

    Attributes:
        of: Part, queries and targets' scores → loss and slope.
        slices: The parts.
        shared: Vectors of the columns, [k + 1, d].
        drawn: Places of the columns' videos, [k].
        right: Place of each target, [n].
        column: Column of each target, [n].
    """

    of: Callable[[slice, Tensor, Tensor], tuple[Tensor, Tensor]]
    slices: list[slice]
    shared: Tensor
    drawn: Tensor
    right: Tensor
    column: Tensor


class _SumOfParts(torch.autograd.Function):
    """Σ over parts of loss(logits), whose gradients are taken part by part in the forward pass.

    Corrections add constants and masks put constants in, so the slope of a score is that of its
    logit, and what a loss leaves at -inf has none: two products a part are all that is left to do.
    A target's own score goes another way, since it may have no column but the blank.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own context object
        parts: _Parts,
        scaled: Tensor,
        vectors: Tensor,
    ) -> Tensor:
        total, shared = torch.zeros((), device=scaled.device), parts.shared
        wanted = vectors[parts.right]
        score, left = (scaled * wanted).sum(1), scaled.to(shared.dtype)
        d_score, d_scaled, d_shared = torch.empty_like(score), torch.empty_like(scaled), vectors.new_zeros(shared.shape)
        for at in parts.slices:
            value, slope = parts.of(at, left[at], score[at])
            own = each_at(parts.column[at])
            d_score[at] = slope[own].float()
            slope.index_put_(own, slope.new_zeros(()))  # a number of Python's would make a GPU wait
            total += value
            d_scaled[at] = slope @ shared
            d_shared += slope.T @ left[at]
        d_scaled.addcmul_(d_score[:, None], wanted)
        d_vectors = torch.zeros_like(vectors).index_add_(0, parts.drawn, d_shared[:-1])
        d_vectors.index_add_(0, parts.right, d_score[:, None] * scaled)
        ctx.save_for_backward(d_scaled, d_vectors)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[None, Tensor, Tensor]:  # noqa: ANN401
        d_scaled, d_vectors = ctx.saved_tensors
        return None, d_scaled * outer[0], d_vectors * outer[0]
