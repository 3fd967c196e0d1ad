"""What a sampler is: a step of training that asks, and a pool of videos, to candidates and their probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int64


@dataclass(frozen=True)
class Step:
    """The batch that candidates are drawn for; of a batch that several processes share, the whole.

    Attributes:
        number: Of the batch in its epoch, from 0.
        targets: Rows of the videos to predict, [n].
        earlier: Targets of the batches before it in the epoch, as many batches as the sampler's `memory` says, [e].
        users: Row of each window's user, [b].
        history: Rows that each window reads before its last target, oldest first, 0 pads the right, [b, h].
    """

    number: int
    targets: Int64[np.ndarray, " n"]
    earlier: Int64[np.ndarray, " e"]
    users: Int64[np.ndarray, " b"]
    history: Int64[np.ndarray, "b h"]


Hardest = Callable[[Step, int, int, bool], Int64[np.ndarray, "a each"]]
"""Step, askers, each and afresh → the videos that the towers rank first for some of the step's users.

At most `askers` users are asked for; those they are known to like are left out; -1 fills a short list, [a, each].
`afresh` has the videos' vectors taken from the towers as they are now, at an epoch's first step to be asked at once,
else from the next such call on. The answer must follow from the calls since the epoch's first and the towers alone.
"""


@dataclass(frozen=True)
class Pool:
    """What there is to draw from, the same for all steps of an epoch.

    Attributes:
        share: Each video's share of all training targets, [rows]; sums to 1.
        eligible: Rows that may be drawn, sorted, [c]: the videos that were there to be watched.
        hardest: Asks the towers that are being trained; None where there are none.
    """

    share: Float64[np.ndarray, " rows"]
    eligible: Int64[np.ndarray, " c"]
    hardest: Hardest | None = None
    _tables: dict[float, Float64[np.ndarray, " c"]] = field(default_factory=dict, init=False, repr=False)

    def cumulated(self, power: float) -> Float64[np.ndarray, " c"]:
        """Return the running sum over the eligible videos of share ** power, made once and scaled to end at 1, [c].

        Example:
            >>> Pool(np.array([0, 0, 0.1, 0.9]), np.array([2, 3])).cumulated(0.5).tolist()
            [0.25, 1.0]
        """
        if power not in self._tables:
            share = self.share[self.eligible]
            total = np.cumsum(np.where(share > 0, share**power, 0.0))  # 0 ** 0 is 1
            self._tables[power] = total / total[-1]
        return self._tables[power]


@dataclass(kw_only=True)
class Sampler(ABC):
    """Draws the candidates that all positions of a batch share.

    Contract, held by tests/contracts/test_samplers.py: rows are distinct, sorted, real videos, and
    exp(log_q) is the probability with which each is in the draw, where targets come by their share.
    A sampler keeps nothing between draws: what it needs of the past is in the step, so that a
    training that was interrupted goes on as if it had not been.
    """

    even: ClassVar[bool] = False
    """Whether every video of the catalogue is as likely to be drawn as any other."""

    @property
    def asks(self) -> bool:
        """Whether it asks the towers as they are: then no batch can be put together before its turn."""
        return False

    @property
    def memory(self) -> int:
        """How many batches' targets it wants to see again."""
        return 0

    @abstractmethod
    def draw(
        self, step: Step, pool: Pool, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the candidates' rows, [m], and the log of their probability of being drawn, [m].

        Args:
            step: The batch that asks.
            pool: What there is to draw from.
            rng: Source of chance.
        """
