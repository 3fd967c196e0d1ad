import pytest
import torch

from towers.losses import Bpr, CandidateSet, Softmax, candidate_loss
from towers.types import ConfigError


def test_softmax_by_hand() -> None:
    # scores of the one query: 1, 0, -1, 2; the last is known to be liked, the third counts double (q = 1/2).
    # So the loss is minus the log of e out of e + 1 + 2 over e.
    vectors = torch.tensor([[1.0], [0.0], [-1.0], [2.0]])
    candidates = CandidateSet(
        vectors, torch.tensor([1.0, 1.0, 0.5, 1.0]).log(), torch.tensor([[False, False, False, True]])
    )
    value = candidate_loss(
        Softmax(),
        torch.ones(1, 1, 1),
        torch.zeros(1, 1, dtype=torch.long),
        torch.ones(1, 1),
        candidates,
        torch.tensor(1.0),
    )
    e = torch.e
    assert float(value) == pytest.approx(float(-torch.log(torch.tensor(e / (e + 1 + 2 / e)))))


def test_a_bonus_is_what_a_candidate_counts_for() -> None:
    # scores 1, 0 and -1: the second counts for three others, so the loss is minus the log of e out of e + 3 + 1 / e
    vectors, known = torch.tensor([[1.0], [0.0], [-1.0]]), torch.zeros(1, 3, dtype=torch.bool)
    candidates = CandidateSet(vectors, torch.zeros(3), known, torch.tensor([[0.0, 3.0, 1.0]]).clamp(min=1).log())
    arguments = (Softmax(), torch.ones(1, 1, 1), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1))
    value = candidate_loss(*arguments, candidates, torch.tensor(1.0))
    e = torch.e
    assert float(value) == pytest.approx(float(-torch.log(torch.tensor(e / (e + 3 + 1 / e)))))


def test_the_target_itself_is_not_corrected() -> None:
    vectors, known = torch.tensor([[1.0], [0.0]]), torch.zeros(1, 2, dtype=torch.bool)
    arguments = (Softmax(), torch.ones(1, 1, 1), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1))
    plain = candidate_loss(*arguments, CandidateSet(vectors, torch.zeros(2), known), torch.tensor(1.0))
    rare = candidate_loss(*arguments, CandidateSet(vectors, torch.tensor([-5.0, 0.0]), known), torch.tensor(1.0))
    assert float(plain) == pytest.approx(float(rare))


def test_a_pairwise_loss_is_not_corrected_but_masked() -> None:
    known = torch.zeros(1, 3, dtype=torch.bool)
    candidates = CandidateSet(torch.zeros(3, 1), torch.tensor([-1.0, -5.0, torch.inf]), known)
    value = candidate_loss(
        Bpr(), torch.ones(1, 1, 1), torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1), candidates, torch.tensor(1.0)
    )
    assert float(value) == pytest.approx(float(torch.tensor(2.0).log()))


def test_sampled_softmax_is_an_estimate_of_the_full_sum() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, q = torch.randn(400, generator=draw), torch.rand(400, generator=draw) * 0.5 + 0.25
    estimates = []
    for _ in range(300):
        inside = torch.rand(400, generator=draw) < q
        estimates.append((logits[inside] - q[inside].log()).exp().sum())
    assert float(torch.stack(estimates).mean()) == pytest.approx(float(logits.exp().sum()), rel=0.02)


def test_a_batch_that_counts_nothing_is_refused() -> None:
    candidates = CandidateSet(torch.ones(2, 1), torch.zeros(2), torch.zeros(1, 2, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"every position of the batch has weight 0; data\.weight must be above 0"):
        candidate_loss(
            Bpr(),
            torch.ones(1, 1, 1),
            torch.zeros(1, 1, dtype=torch.long),
            torch.zeros(1, 1),
            candidates,
            torch.tensor(1.0),
        )


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_label_smoothing_out_of_range_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=rf"loss\.label_smoothing is {value}; expected at least 0 and below 1"):
        Softmax(label_smoothing=value)


def test_label_smoothing_spreads_over_candidates_alone() -> None:
    logits = torch.tensor([[2.0, 0.0, -torch.inf]])
    log_p = logits[:, :2].log_softmax(1)
    expected = -(0.8 * log_p[0, 0] + 0.2 * log_p[0].mean())
    value = Softmax(label_smoothing=0.2)(logits, torch.tensor([0]), torch.ones(1))
    torch.testing.assert_close(value, expected)


def test_a_target_that_was_not_drawn_is_scored_beside_those_that_were() -> None:
    torch.manual_seed(0)
    vectors, queries = torch.randn(5, 3, requires_grad=True), torch.randn(1, 2, 3, requires_grad=True)
    log_q = (
        torch
        .tensor([0.3, 0.0, 0.6, 0.0, 0.0])
        .log()
        .masked_fill(torch.tensor([False, True, False, True, True]), torch.inf)
    )
    known = torch.zeros(1, 5, dtype=torch.bool)
    target = torch.tensor([[3, 0]])  # the first was not drawn, the second was
    ours = candidate_loss(
        Softmax(), queries, target, torch.ones(1, 2), CandidateSet(vectors, log_q, known), torch.tensor(2.0)
    )
    scores = 2 * queries[0] @ vectors.T
    first = torch.stack([scores[0, 3], scores[0, 0] - log_q[0], scores[0, 2] - log_q[2]])
    second = torch.stack([scores[1, 0], scores[1, 2] - log_q[2]])
    plain = -(first.log_softmax(0)[0] + second.log_softmax(0)[0]) / 2
    torch.testing.assert_close(ours, plain)
    mine, wanted = (torch.autograd.grad(value, [vectors, queries]) for value in (ours, plain))
    torch.testing.assert_close(mine, wanted)
    assert not mine[0][[1, 4]].any()
