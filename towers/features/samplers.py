"""Which videos a batch is scored against, and with what probability each got there."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from towers.types import ConfigError


@dataclass(kw_only=True)
class Sampler(ABC):
    """Draws the candidates that all positions of a batch share.

    Contract, held by tests/contracts/test_samplers.py: rows are distinct, sorted, real videos, and
    exp(log_q) is the probability with which each is in the draw.
    """

    @abstractmethod
    def draw(
        self,
        targets: Int64[np.ndarray, " n"],
        share: Float64[np.ndarray, " rows"],
        eligible: Int64[np.ndarray, " c"],
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the candidates' rows, [m], and the log of their probability of being drawn, [m].

        Args:
            targets: Rows of the batch's targets, [n].
            share: Each video's share of all training targets, [rows]; sums to 1.
            eligible: Rows that may be drawn, sorted, [c]: the videos that were there to be watched.
            rng: Source of chance.
        """


@dataclass(kw_only=True)
class Catalogue(Sampler):
    """Every video: the full softmax.

    Recommendation: up to some ten thousand videos; the loss goes part by part, so memory stays small.
    """

    def draw(
        self,
        targets: Int64[np.ndarray, " n"],  # noqa: ARG002
        share: Float64[np.ndarray, " rows"],  # noqa: ARG002
        eligible: Int64[np.ndarray, " c"],
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return all videos, each for certain."""
        return eligible, np.zeros(len(eligible))


@dataclass(kw_only=True)
class Uniform(Sampler):
    """Videos drawn evenly from the catalogue, without repetition.

    Recommendation: when the head of the catalogue is not what matters; else :class:`Mixed`.

    Source:
        Jean et al. 2015, On Using Very Large Target Vocabulary, section 3.
    """

    count: int = 512
    """Videos to draw; at most the whole catalogue."""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.count < 1:
            raise ConfigError(f"sampler.count is {self.count}; expected at least 1")

    def draw(
        self,
        targets: Int64[np.ndarray, " n"],  # noqa: ARG002
        share: Float64[np.ndarray, " rows"],  # noqa: ARG002
        eligible: Int64[np.ndarray, " c"],
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return `count` videos."""
        rows, probability = self.evenly(eligible, rng)
        return rows, np.full(len(rows), np.log(probability))

    def evenly(
        self, eligible: Int64[np.ndarray, " c"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " m"], float]:
        """Return distinct rows and the probability of each to be among them."""
        count = min(self.count, len(eligible))
        rows = rng.choice(eligible, count, replace=False, shuffle=False)
        return np.sort(rows), count / len(eligible)


@dataclass(kw_only=True)
class Mixed(Uniform):
    """The batch's own targets, which come by popularity, and evenly drawn videos beside them.

    A video is in by either way, so its probability is 1 - (1 - even) (1 - share)^n, with n targets
    in the batch: exactly the mixture, not the popularity alone.

    Recommendation: large catalogues. In-batch targets cost nothing and are hard negatives; the
    even ones keep rare videos from being pushed nowhere.

    Source:
        Yang et al. 2020, Mixed Negative Sampling for Learning Two-tower Neural Networks, section 3.2.
    """

    def draw(
        self,
        targets: Int64[np.ndarray, " n"],
        share: Float64[np.ndarray, " rows"],
        eligible: Int64[np.ndarray, " c"],
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the batch's targets and `count` more."""
        even, probability = self.evenly(eligible, rng)
        rows = np.union1d(even, targets)
        absent = np.log1p(-np.minimum(share[rows], 1 - 1e-12)) * len(targets)
        if probability < 1:
            return rows, np.log(-np.expm1(absent + np.log1p(-probability)))
        return rows, np.zeros(len(rows))


SAMPLERS: dict[str, type[Sampler]] = {"catalogue": Catalogue, "uniform": Uniform, "mixed": Mixed}
