"""What every history encoder promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.models import HISTORIES, HistoryEncoder

every_encoder = pytest.mark.parametrize("kind", list(HISTORIES))


def build(kind: str, dim: int = 6, length: int = 9) -> HistoryEncoder:
    torch.manual_seed(0)
    encoder = HISTORIES[kind]().build(dim, length)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter)
    return encoder.eval()


@every_encoder
@given(seed=st.integers(0, 10_000), place=st.integers(0, 9))
def test_a_state_does_not_see_what_comes_after(kind: str, seed: int, place: int) -> None:
    encoder = build(kind)
    events = torch.randn(2, 10, 6, generator=torch.Generator().manual_seed(seed))
    changed = events.clone()
    changed[:, place:] += torch.randn(2, 10 - place, 6, generator=torch.Generator().manual_seed(seed + 1))
    before, after = encoder(events), encoder(changed)
    assert torch.equal(before[:, :place], after[:, :place])
    assert not torch.allclose(before[:, place], after[:, place])


@every_encoder
def test_a_longer_window_leaves_earlier_states_alone(kind: str) -> None:
    encoder = build(kind)
    events = torch.randn(3, 10, 6)
    torch.testing.assert_close(encoder(events)[:, :4], encoder(events[:, :4]))


@every_encoder
def test_states_have_the_declared_width_and_permute_with_the_batch(kind: str) -> None:
    encoder = build(kind)
    events = torch.randn(4, 5, 6)
    states = encoder(events)
    assert states.shape == (4, 5, encoder.width)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(encoder(events[order]), states[order])
