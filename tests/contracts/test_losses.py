"""What every loss promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from towers.losses import LOSSES, CandidateSet, Loss, Softmax, candidate_loss

PLAIN: dict[str, Loss] = {name: variant() for name, variant in LOSSES.items()}
SMOOTHED: dict[str, Loss] = {"softmax smoothed": Softmax(label_smoothing=0.1)}
every_loss = pytest.mark.parametrize("loss", [*PLAIN.values(), *SMOOTHED.values()], ids=[*PLAIN, *SMOOTHED])


def example(seed: int, rows: int = 5, columns: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, columns, generator=draw) * 3
    return logits, torch.randint(columns, (rows,), generator=draw), torch.rand(rows, generator=draw) + 0.1


@every_loss
@given(seed=st.integers(0, 10_000))
def test_is_a_finite_sum_over_positions(loss: Loss, seed: int) -> None:
    logits, target, weight = example(seed)
    whole = loss(logits, target, weight)
    parts = sum(loss(logits[i : i + 1], target[i : i + 1], weight[i : i + 1]) for i in range(len(target)))
    assert whole.shape == ()
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize("loss", PLAIN.values(), ids=PLAIN)  # a smoothed one rises again beyond what it aims at
@given(seed=st.integers(0, 10_000))
def test_falls_when_the_target_rises(loss: Loss, seed: int) -> None:
    logits, target, weight = example(seed)
    raised = logits.clone()
    raised[torch.arange(len(target)), target] += 1
    assert loss(raised, target, weight) < loss(logits, target, weight)


@every_loss
@given(seed=st.integers(0, 10_000))
def test_is_unmoved_by_the_order_of_candidates(loss: Loss, seed: int) -> None:
    logits, target, weight = example(seed)
    order = torch.randperm(logits.shape[1], generator=torch.Generator().manual_seed(seed))
    place = order.argsort()
    torch.testing.assert_close(loss(logits[:, order], place[target], weight), loss(logits, target, weight))


@every_loss
@given(seed=st.integers(0, 10_000))
def test_a_masked_candidate_counts_for_nothing(loss: Loss, seed: int) -> None:
    logits, target, weight = example(seed)
    masked = torch.cat([logits, torch.full((len(logits), 3), -torch.inf)], dim=1).requires_grad_()
    value = loss(masked, target, weight)
    torch.testing.assert_close(value.detach(), loss(logits, target, weight))
    torch.autograd.backward(value)
    assert masked.grad is not None
    assert masked.grad.isfinite().all()
    assert (masked.grad[:, -3:] == 0).all()


@every_loss
def test_a_position_of_weight_nought_counts_for_nothing(loss: Loss) -> None:
    logits, target, weight = example(1)
    weight[2] = 0
    rest = torch.tensor([0, 1, 3, 4])
    torch.testing.assert_close(loss(logits, target, weight), loss(logits[rest], target[rest], weight[rest]))


@every_loss
@given(seed=st.integers(0, 10_000))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_slope_is_the_derivative(loss: Loss, dtype: torch.dtype, seed: int) -> None:
    logits, target, weight = example(seed)
    if not loss.tempered:
        logits /= logits.abs().max()
    logits[torch.arange(len(target)), (target + 1) % logits.shape[1]] = -torch.inf
    given_logits = logits.to(dtype)
    free = given_logits.float().requires_grad_()
    value = loss(free, target, weight)
    torch.autograd.backward(value)
    ours, slope = loss.with_slope(given_logits.clone(), target, weight)
    assert slope.dtype == dtype
    assert free.grad is not None
    rtol, atol = (1e-5, 1e-6) if dtype is torch.float32 else (0.03, 0.05)
    torch.testing.assert_close(ours, value.detach(), rtol=rtol, atol=atol)
    torch.testing.assert_close(slope.float(), free.grad, rtol=rtol, atol=atol)


def plain(
    loss: Loss, queries: Tensor, target: Tensor, weight: Tensor, candidates: CandidateSet, scale: Tensor
) -> Tensor:
    """The same sequence, whole and position by position."""
    total, loss = torch.zeros(()), loss.over(candidates.log_q)
    for b in range(target.shape[0]):
        for h in range(target.shape[1]):
            scores = candidates.vectors @ queries[b, h] * (scale if loss.tempered else 1)
            log_q = candidates.log_q if loss.corrected else torch.where(candidates.log_q.isinf(), torch.inf, 0.0)
            logits = torch.where(candidates.known[b], -torch.inf, scores - log_q)
            logits = torch.where(torch.arange(len(scores)) == target[b, h], scores, logits)
            total = total + loss(logits[None], target[b, h][None], weight[b, h][None])
    return total / weight.sum()


@every_loss
@pytest.mark.parametrize("logits_at_once", [1, 50, 10_000])
def test_parts_give_the_loss_and_gradients_of_the_whole(
    loss: Loss, logits_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.losses.scoring.LOGITS_AT_ONCE", logits_at_once)
    draw = torch.Generator().manual_seed(3)
    leaves = [
        torch.randn(3, 4, 8, generator=draw).requires_grad_(),
        torch.randn(20, 8, generator=draw).requires_grad_(),
        torch.tensor(2.5, requires_grad=True),
    ]
    target, weight = torch.randint(20, (3, 4), generator=draw), torch.rand(3, 4, generator=draw)
    weight[1, 2:] = 0
    log_q = torch.rand(20, generator=draw).log()
    log_q[7] = torch.inf
    known = torch.rand(3, 20, generator=draw) < 0.2

    def value_and_gradients(function: object) -> list[Tensor]:
        for leaf in leaves:
            leaf.grad = None
        queries, vectors, scale = leaves
        value = function(loss, queries, target, weight, CandidateSet(vectors, log_q, known), scale)  # type: ignore[operator]
        torch.autograd.backward(value)
        return [value.detach(), *[leaf.grad.clone() for leaf in leaves if leaf.grad is not None]]

    for ours, theirs in zip(value_and_gradients(candidate_loss), value_and_gradients(plain), strict=True):
        torch.testing.assert_close(ours, theirs)
