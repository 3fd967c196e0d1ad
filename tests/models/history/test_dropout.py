"""Byte dropout leaves out the share it was told, in training alone, and keeps the mean."""

import pytest
import torch

from towers.models.history import ByteDropout


@pytest.mark.parametrize(("share", "rounded"), [(0.2, 51 / 256), (0.5, 0.5), (0.9, 230 / 256)])
def test_the_share_is_rounded_to_a_256th_and_made_up_for(share: float, rounded: float) -> None:
    torch.manual_seed(0)
    out = ByteDropout(share)(torch.ones(400, 1001))
    assert float((out == 0).float().mean()) == pytest.approx(rounded, abs=0.005)
    assert out.max().item() == pytest.approx(1 / (1 - rounded), rel=1e-6)
    assert float(out.mean()) == pytest.approx(1, abs=0.02)


def test_neighbours_are_left_out_independently() -> None:
    torch.manual_seed(0)
    kept = (ByteDropout(0.5)(torch.ones(400_000)) > 0).float()
    for shift in (1, 4, 8):
        both = float((kept[:-shift] * kept[shift:]).mean())
        assert both == pytest.approx(0.25, abs=0.005)


def test_nothing_or_everything() -> None:
    x = torch.randn(3, 5)
    assert torch.equal(ByteDropout(0.0)(x), x)
    assert not ByteDropout(1.0)(x).any()
    assert torch.equal(ByteDropout(1.0).eval()(x), x)


def test_the_gradient_passes_where_the_value_did() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, requires_grad=True)
    out = ByteDropout(0.5)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_a_seed_fixes_the_mask_and_bfloat16_stays() -> None:
    x = torch.ones(33, dtype=torch.bfloat16)
    torch.manual_seed(5)
    first = ByteDropout(0.5)(x)
    torch.manual_seed(5)
    assert torch.equal(ByteDropout(0.5)(x), first)
    assert first.dtype == torch.bfloat16
