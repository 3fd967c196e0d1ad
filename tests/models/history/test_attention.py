"""Attention in stripes is torch's attention, values and gradients."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from towers.models.history.attention import STRIPE, Terms, Weighting, attend, by_pair
from towers.models.machine.codes import BUCKETS

COUNTS = pytest.mark.parametrize("count", [1, 7, STRIPE, 2 * STRIPE + 5])


def parts(count: int) -> list[Tensor]:
    """Queries, keys, values of another width, and terms of distances."""
    draw = torch.Generator().manual_seed(count)
    shapes = [(3, 2, count, 4), (3, 2, count, 4), (3, 2, count, 6), (2, count)]
    return [torch.randn(*shape, generator=draw, requires_grad=True) for shape in shapes]


def assert_agree(got: Tensor, wanted: Tensor, inputs: list[Tensor]) -> None:
    torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
    slope = torch.randn(got.shape, generator=torch.Generator().manual_seed(9))
    for mine, theirs in zip(
        torch.autograd.grad(got, inputs, slope), torch.autograd.grad(wanted, inputs, slope), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@COUNTS
def test_softmax_attention_is_that_of_torch(count: int) -> None:
    query, key, value, by_distance = inputs = parts(count)
    bias = by_pair(by_distance, -torch.inf)
    wanted = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    assert_agree(attend(query, key, value, Terms(bias)), wanted, inputs)


@COUNTS
def test_silu_attention_is_what_it_says(count: int) -> None:
    query, key, value, by_distance = inputs = parts(count)
    logits = query @ key.transpose(-1, -2) / 2 + by_pair(by_distance, 0.0)
    wanted = functional.silu(logits).tril() @ value
    terms = Terms(by_pair(by_distance, Weighting.silu.value))
    assert_agree(attend(query, key, value, terms, Weighting.silu), wanted, inputs)


@pytest.mark.parametrize("weighting", list(Weighting))
@COUNTS
def test_a_term_of_the_time_since_is_added_to_the_logit_of_its_pair(count: int, weighting: Weighting) -> None:
    query, key, value, by_distance = inputs = parts(count)
    draw = torch.Generator().manual_seed(5)
    by_time = torch.randn(BUCKETS, generator=draw, requires_grad=True)
    since = torch.randint(0, BUCKETS, (3, count, count), generator=draw, dtype=torch.uint8)
    logits = query @ key.transpose(-1, -2) / 2 + by_pair(by_distance, -torch.inf) + by_time[since.long()][:, None]
    weights = logits.softmax(-1) if weighting is Weighting.softmax else functional.silu(logits.clamp(min=-1e4))
    terms = Terms(by_pair(by_distance, weighting.value), by_time, since)
    assert_agree(attend(query, key, value, terms, weighting), weights @ value, [*inputs, by_time])


def test_a_pair_has_the_value_of_its_distance() -> None:
    by_distance = torch.randn(2, 5)
    square = by_pair(by_distance, -7.0)
    for query in range(5):
        for key in range(5):
            wanted = by_distance[:, query - key] if key <= query else torch.full((2,), -7.0)
            assert torch.equal(square[:, query, key], wanted)
