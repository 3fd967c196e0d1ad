"""What every history encoder promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from towers.models import HISTORIES, HistoryEncoder
from towers.types import ConfigError

every_encoder = pytest.mark.parametrize("kind", list(HISTORIES))


def build(kind: str, dim: int = 8, length: int = 9) -> HistoryEncoder:
    torch.manual_seed(0)
    encoder = HISTORIES[kind]().build(dim, length)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return encoder.eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_encoder
@given(seed=st.integers(0, 10_000), place=st.integers(0, 9))
def test_a_state_does_not_see_what_comes_after(kind: str, seed: int, place: int) -> None:
    encoder = build(kind)
    events = noise(2, 10, 8, seed=seed)
    changed = events.clone()
    changed[:, place:] += noise(2, 10 - place, 8, seed=seed + 1)
    before, after = encoder(events), encoder(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.allclose(before[:, place], after[:, place])


@every_encoder
def test_no_gradient_comes_back_from_a_later_event(kind: str) -> None:
    encoder = build(kind)
    events = noise(2, 10, 8).requires_grad_()
    encoder(events)[:, 4].square().sum().backward()
    assert events.grad is not None
    assert events.grad[:, :5].abs().sum(dim=(0, 2)).all()
    assert not events.grad[:, 5:].any()


@every_encoder
def test_a_longer_window_leaves_earlier_states_alone(kind: str) -> None:
    encoder = build(kind)
    events = noise(3, 10, 8)
    torch.testing.assert_close(encoder(events)[:, :4], encoder(events[:, :4]))


@every_encoder
def test_a_state_does_not_depend_on_what_pads_the_window(kind: str) -> None:
    encoder = build(kind)
    events = noise(3, 4, 8)
    padded = [torch.cat([events, pad], dim=1) for pad in (torch.zeros(3, 6, 8), 9 * noise(3, 6, 8))]
    for window in padded:
        torch.testing.assert_close(encoder(window)[:, :4], encoder(events))


@every_encoder
def test_states_have_the_declared_width_and_permute_with_the_batch(kind: str) -> None:
    encoder = build(kind)
    events = noise(4, 5, 8)
    states = encoder(events)
    assert states.shape == (4, 5, encoder.width)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(encoder(events[order]), states[order])


@every_encoder
def test_states_repeat_when_nothing_is_left_out(kind: str) -> None:
    encoder = build(kind)
    events = noise(4, 5, 8)
    assert torch.equal(encoder(events), encoder(events))


@every_encoder
def test_every_weight_learns_and_no_gradient_is_lost(kind: str) -> None:
    torch.manual_seed(0)
    encoder = HISTORIES[kind]().build(8, 69).train()
    events = noise(3, 70, 8).requires_grad_()
    (encoder(events) * noise(3, 70, encoder.width, seed=1)).sum().backward()
    for name, tensor in [("events", events), *encoder.named_parameters()]:
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all(), name
        assert tensor.grad.any(), name


@every_encoder
def test_products_in_bfloat16_come_near_those_in_float32(kind: str) -> None:
    torch.manual_seed(0)
    encoder = HISTORIES[kind]().build(8, 69).eval()
    events = torch.nn.functional.normalize(noise(3, 70, 8), dim=-1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        near = encoder(events)
    near.float().square().sum().backward()
    assert events.grad is not None
    assert torch.isfinite(events.grad).all()
    exact = encoder(events).detach()
    torch.testing.assert_close(near.float(), exact, atol=0.05 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in HISTORIES if kind not in {"mean", "gru"}])
def test_a_history_longer_than_the_weights_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="a history of 11 events; these towers read 9"):
        build(kind)(noise(1, 12, 8))
