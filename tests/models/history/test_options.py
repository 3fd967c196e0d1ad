"""Options of history encoders that cannot be are refused by name; what they change is changed."""

import pytest
import torch

from towers.data import TIME_UNKNOWN
from towers.models import HISTORIES
from towers.models.history import Clock
from towers.types import ConfigError

WRONG = [
    ("attention", {"heads": 0}, r"history\.heads is 0; expected at least 1"),
    ("gru", {"layers": 0}, r"history\.layers is 0; expected at least 1"),
    ("transformer", {"blocks": 0}, r"history\.blocks is 0; expected at least 1"),
    ("transformer", {"dropout": 1.5}, r"history\.dropout is 1\.5; expected from 0 to 1"),
    ("gated", {"expand": -1}, r"history\.expand is -1; expected at least 1"),
    ("hstu", {"heads": -2}, r"history\.heads is -2; expected at least 1"),
    ("hstu", {"dropout": -0.1}, r"history\.dropout is -0\.1; expected from 0 to 1"),
]


@pytest.mark.parametrize(("kind", "options", "message"), WRONG)
def test_options_out_of_range_are_refused(kind: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HISTORIES[kind](**options)


@pytest.mark.parametrize("kind", ["attention", "transformer", "gated", "hstu"])
def test_heads_that_do_not_divide_the_width_are_refused(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"history\.heads is 3 and model\.dim is 8; expected a number of heads that"):
        HISTORIES[kind](heads=3).build(8, 4)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", ["gru", "transformer", "gated", "hstu"])
def test_dropout_leaves_out_in_training_alone(kind: str) -> None:
    torch.manual_seed(0)
    encoder = HISTORIES[kind](dropout=0.5).build(8, 9)  # type: ignore[call-arg]
    events = torch.randn(2, 10, 8)
    times = Clock(*torch.full((2, 2, 10), TIME_UNKNOWN))
    assert not torch.allclose(encoder.train()(events, times), encoder(events, times))
    assert torch.equal(encoder.eval()(events, times), encoder(events, times))


@pytest.mark.parametrize("kind", list(HISTORIES))
def test_states_begin_in_the_size_of_the_events(kind: str) -> None:
    """A state is added to the query beside the users' features, so it must be neither lost nor all there is."""
    torch.manual_seed(0)
    encoder = HISTORIES[kind]().build(64, 50).eval()
    events = torch.nn.functional.normalize(torch.randn(20, 51, 64), dim=-1)
    times = Clock(*torch.full((2, 20, 51), TIME_UNKNOWN))
    length = encoder(events, times)[..., :64].norm(dim=-1).mean().detach()
    assert 0.1 < float(length) < 2
