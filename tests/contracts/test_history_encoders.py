"""What every history encoder promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from towers.data import TIME_UNKNOWN
from towers.models import HISTORIES, HistoryEncoder
from towers.models.history import Clock
from towers.types import ConfigError

TIMED = {"attention", "transformer", "gated", "hstu"}
KINDS = [*HISTORIES, *(f"{kind} with times" for kind in HISTORIES if kind in TIMED)]
every_encoder = pytest.mark.parametrize("kind", KINDS)


def made(kind: str, dim: int = 8, length: int = 9) -> HistoryEncoder:
    torch.manual_seed(0)
    name, _, timed = kind.partition(" with ")
    options = {"times": bool(timed)} if name in TIMED else {}
    return HISTORIES[name](**options).build(dim, length)


def build(kind: str) -> HistoryEncoder:
    encoder = made(kind)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return encoder.eval()


def clock(batch: int, count: int, seed: int = 0) -> Clock:
    """Times that rise by a second to a year; some are unknown."""
    draw = torch.Generator().manual_seed(seed)
    steps = torch.exp(torch.rand(batch, count, generator=draw) * 17) * 1000
    asked = 1_650_000_000_000 + steps.long().cumsum(1)
    happened = torch.cat([torch.full((batch, 1), TIME_UNKNOWN), asked[:, :-1]], dim=1)
    unknown = torch.rand(2, batch, count, generator=draw) < 0.2
    return Clock(happened.masked_fill(unknown[0], TIME_UNKNOWN), asked.masked_fill(unknown[1], TIME_UNKNOWN))


def cut(times: Clock, end: int) -> Clock:
    return Clock(times.happened_ms[:, :end], times.asked_ms[:, :end])


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_encoder
@given(seed=st.integers(0, 10_000), place=st.integers(0, 9))
def test_a_state_does_not_see_what_comes_after(kind: str, seed: int, place: int) -> None:
    encoder = build(kind)
    events = noise(2, 10, 8, seed=seed)
    changed = events.clone()
    changed[:, place:] += noise(2, 10 - place, 8, seed=seed + 1)
    times = clock(2, 10, seed)
    before, after = encoder(events, times), encoder(changed, times)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.allclose(before[:, place], after[:, place])


@every_encoder
@given(seed=st.integers(0, 10_000), place=st.integers(1, 9))
def test_a_state_does_not_see_when_what_comes_after_happened(kind: str, seed: int, place: int) -> None:
    encoder, events = build(kind), noise(2, 10, 8, seed=seed)
    times, others = clock(2, 10, seed), clock(2, 10, seed + 1)
    happened = torch.cat([times.happened_ms[:, :place], others.happened_ms[:, place:]], dim=1)
    asked = torch.cat([times.asked_ms[:, :place], others.asked_ms[:, place:]], dim=1)
    before, after = encoder(events, times), encoder(events, Clock(happened, asked))
    assert torch.equal(before[:, :place], after[:, :place])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "times" in kind])
def test_times_move_a_state_and_the_request_s_does_too(kind: str) -> None:
    encoder, events = build(kind), noise(2, 10, 8)
    known = torch.arange(1, 11).expand(2, -1) * 60_000
    times = Clock(known - 60_000, known)
    slower = Clock(times.happened_ms * 50, times.asked_ms * 50)
    later = Clock(times.happened_ms, times.asked_ms + 10**9)
    states = encoder(events, times)
    assert not torch.allclose(states[:, 5], encoder(events, slower)[:, 5])
    assert not torch.allclose(states[:, 5], encoder(events, later)[:, 5])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "times" in kind])
def test_only_differences_of_times_count(kind: str) -> None:
    encoder, events, times = build(kind), noise(2, 10, 8), clock(2, 10)
    years = 10 * 31_536_000_000
    moved = (torch.where(t == TIME_UNKNOWN, t, t + years) for t in (times.happened_ms, times.asked_ms))
    assert torch.equal(encoder(events, times), encoder(events, Clock(*moved)))


@every_encoder
def test_no_gradient_comes_back_from_a_later_event(kind: str) -> None:
    encoder = build(kind)
    events = noise(2, 10, 8).requires_grad_()
    encoder(events, clock(2, 10))[:, 4].square().sum().backward()
    assert events.grad is not None
    assert events.grad[:, :5].abs().sum(dim=(0, 2)).all()
    assert not events.grad[:, 5:].any()


@every_encoder
def test_a_longer_window_leaves_earlier_states_alone(kind: str) -> None:
    encoder = build(kind)
    events = noise(3, 10, 8)
    times = clock(3, 10)
    torch.testing.assert_close(encoder(events, times)[:, :4], encoder(events[:, :4], cut(times, 4)))


@every_encoder
def test_a_state_does_not_depend_on_what_pads_the_window(kind: str) -> None:
    encoder = build(kind)
    events = noise(3, 4, 8)
    times = clock(3, 10)
    padded = [torch.cat([events, pad], dim=1) for pad in (torch.zeros(3, 6, 8), 9 * noise(3, 6, 8))]
    for window in padded:
        torch.testing.assert_close(encoder(window, times)[:, :4], encoder(events, cut(times, 4)))


@every_encoder
def test_states_have_the_declared_width_and_permute_with_the_batch(kind: str) -> None:
    encoder = build(kind)
    events, times = noise(4, 5, 8), clock(4, 5)
    states = encoder(events, times)
    assert states.shape == (4, 5, encoder.width)
    order = torch.tensor([2, 0, 3, 1])
    permuted = Clock(times.happened_ms[order], times.asked_ms[order])
    torch.testing.assert_close(encoder(events[order], permuted), states[order])


@every_encoder
def test_states_repeat_when_nothing_is_left_out(kind: str) -> None:
    encoder = build(kind)
    events, times = noise(4, 5, 8), clock(4, 5)
    assert torch.equal(encoder(events, times), encoder(events, times))


@every_encoder
def test_every_weight_learns_and_no_gradient_is_lost(kind: str) -> None:
    encoder = made(kind, length=69).train()
    events = noise(3, 70, 8).requires_grad_()
    (encoder(events, clock(3, 70)) * noise(3, 70, encoder.width, seed=1)).sum().backward()
    for name, tensor in [("events", events), *encoder.named_parameters()]:
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all(), name
        assert tensor.grad.any(), name


@every_encoder
def test_products_in_bfloat16_come_near_those_in_float32(kind: str) -> None:
    encoder, times = made(kind, length=69).eval(), clock(3, 70)
    events = torch.nn.functional.normalize(noise(3, 70, 8), dim=-1).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        near = encoder(events, times)
    near.float().square().sum().backward()
    assert events.grad is not None
    assert torch.isfinite(events.grad).all()
    exact = encoder(events, times).detach()
    torch.testing.assert_close(near.float(), exact, atol=0.05 * float(exact.abs().max()), rtol=0)


@pytest.mark.parametrize("kind", [kind for kind in HISTORIES if kind not in {"mean", "gru"}])
def test_a_history_longer_than_the_weights_is_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match="a history of 11 events; these towers read 9"):
        build(kind)(noise(1, 12, 8), clock(1, 12))
