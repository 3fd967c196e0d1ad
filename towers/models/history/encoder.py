"""What a history encoder is: events to states, causally, and the options it is built from."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor, nn

from towers.types import ConfigError


@dataclass(frozen=True)
class Clock:
    """When the events of windows happened, and when their states are asked.

    Attributes:
        happened_ms: Of each event, UTC, [b, h]; TIME_UNKNOWN where that is not known, as of the start.
        asked_ms: Of each state, UTC, [b, h]; TIME_UNKNOWN where that is not known.
    """

    happened_ms: Int64[Tensor, "b h"]
    asked_ms: Int64[Tensor, "b h"]


class HistoryEncoder(nn.Module, ABC):
    """Events to states.

    Contract, held by tests/contracts/test_history_encoders.py: `forward` maps [b, h, d] to
    [b, h, width], and state t depends on events ≤ t alone, on when they happened and on when states
    ≤ t are asked, which is never before their last event. Event 0 of every window is the learned
    start, so the state of an empty history is the state 0. Windows are left-aligned: what pads them
    stands after every event, where causality makes it harmless.

    Requests go through `forward` too, unless its kind has a form in towers.models.machine.FORMS.
    """

    width: int
    """Size of a state."""

    @abstractmethod
    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:
        """Return the state after each event.

        Args:
            events: The start and what was watched, oldest first, [b, h, d].
            clock: When that was.
        """


@dataclass(kw_only=True)
class History(ABC):
    """A kind of history encoder and its options."""

    def choice(self, length: int) -> "History":  # noqa: ARG002 - of most kinds there is one
        """Return the kind that histories of at most so many events get: this one."""
        return self

    @abstractmethod
    def build(self, dim: int, length: int) -> HistoryEncoder:
        """Return an encoder of events of size dim, at most length of them and the start."""


def at_least_one(**options: int) -> None:
    """Check options that count something.

    Raises:
        ConfigError: One is below 1.
    """
    for name, value in options.items():
        if value < 1:
            raise ConfigError(f"history.{name} is {value}; expected at least 1")


def a_share(**options: float) -> None:
    """Check options that are a share of something.

    Raises:
        ConfigError: One is outside 0 to 1.
    """
    for name, value in options.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"history.{name} is {value}; expected from 0 to 1")


def divides(dim: int, heads: int) -> None:
    """Check that vectors can be shared out among heads.

    Raises:
        ConfigError: They cannot.
    """
    if dim % heads:
        raise ConfigError(
            f"history.heads is {heads} and model.dim is {dim}; expected a number of heads that divides it"
        )


def within(count: int, length: int) -> None:
    """Check that a window is no longer than the encoder was built for.

    Args:
        count: Events of the window, the start included.
        length: Events that the encoder reads, the start not included.

    Raises:
        ConfigError: It is longer.
    """
    if count > length + 1:
        raise ConfigError(f"a history of {count - 1} events; these towers read {length}")
