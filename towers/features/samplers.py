"""Which videos a batch is scored against, and with what probability each got there."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float64, Int64

from towers.features.sampler import Pool, Sampler, Step
from towers.kinds import check_kinds
from towers.types import ConfigError

LEAST, MOST = 512, 4096
"""Videos that are drawn evenly where nobody says how many: what a step of a small catalogue can do with, and what takes
longer than it gives."""


@dataclass(kw_only=True)
class Catalogue(Sampler):
    """Every video: the full softmax.

    Recommendation: up to some ten thousand videos; the loss goes part by part, so memory stays small.

    Source:
        Klenitskiy and Vasilev 2023, Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?, section 3.
    """

    even: ClassVar[bool] = True

    def draw(
        self,
        step: Step,  # noqa: ARG002
        pool: Pool,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return all videos, each for certain."""
        return pool.eligible, np.zeros(len(pool.eligible))


@dataclass(kw_only=True)
class Uniform(Sampler):
    """Videos drawn evenly from the catalogue, without repetition.

    Recommendation: when the head of the catalogue is not what matters, and under losses that are not
    corrected for the draw (`gbce`, `contrastive`); else :class:`Mixed`.

    Source:
        Jean et al. 2015, On Using Very Large Target Vocabulary, section 3.
    """

    even: ClassVar[bool] = True
    count: int = 0
    """Videos to draw, at most the whole catalogue; 0: a tenth of it, from 512 up to 4,096. Recommendation: 0; on
    Gowalla (40,981 videos) recall@100 on valid is .415 with 4,000 and .399 with 512, in 1.6 times the time. Source:
    Klenitskiy and Vasilev 2023, section 4, for more negatives being better."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "sampler.")
        if self.count < 0:
            raise ConfigError(f"sampler.count is {self.count}; expected at least 1, or 0 for a tenth of the catalogue")

    def among(self, videos: int) -> int:
        """Return how many of so many videos are drawn.

        Example:
            >>> Uniform().among(40_981), Uniform().among(600), Uniform(count=8).among(600)
            (4096, 512, 8)
        """
        return min(self.count or min(MOST, max(LEAST, videos // 10)), videos)

    def draw(
        self,
        step: Step,  # noqa: ARG002
        pool: Pool,
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return `count` videos."""
        rows, probability = self.evenly(pool.eligible, rng)
        return rows, np.full(len(rows), np.log(probability))

    def evenly(
        self, eligible: Int64[np.ndarray, " c"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " m"], float]:
        """Return distinct rows and the probability of each to be among them."""
        count = self.among(len(eligible))
        rows = rng.choice(eligible, count, replace=False, shuffle=False)
        return np.sort(rows), count / len(eligible)


@dataclass(kw_only=True)
class InBatch(Sampler):
    """The batch's own targets and nothing else.

    Recommendation: to compare with, or where videos are costly to encode; rare videos are hardly
    ever held against anybody and rise too high, so :class:`Mixed` does better.

    Source:
        Yi et al. 2019, Sampling-bias-corrected neural modeling for large corpus item recommendations.
    """

    def draw(
        self,
        step: Step,
        pool: Pool,
        rng: np.random.Generator,  # noqa: ARG002
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the batch's targets, once each."""
        rows = np.unique(step.targets)
        return rows, log_of_either(0.0, pool.share[rows], len(step.targets))


@dataclass(kw_only=True)
class Popularity(Sampler):
    """Videos drawn by their share of the training events to a power, a video drawn again counting once.

    Draws are independent, so a video that takes the share p of one draw is in with probability
    1 - (1 - p)^count, exactly. It costs as much for a million videos as for a thousand.

    Recommendation: with `power` from .5 to .75 between :class:`Uniform` and :class:`InBatch`, in one
    sampler. Videos without a training event are never drawn, so where ids of those matter take :class:`Mixed`.

    Source:
        Mikolov et al. 2013, Distributed Representations of Words and Phrases, section 2.2, for the power.
    """

    count: int = 1024
    """Videos to draw; those that come twice are in once."""
    power: float = 0.75
    """Power of the share: 1 draws by popularity, 0 evenly among all that were watched."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "sampler.")
        if self.count < 1:
            raise ConfigError(f"sampler.count is {self.count}; expected at least 1")
        if not 0 <= self.power <= 1:
            raise ConfigError(f"sampler.power is {self.power}; expected from 0 to 1")

    def draw(
        self,
        step: Step,  # noqa: ARG002
        pool: Pool,
        rng: np.random.Generator,
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return at most `count` videos."""
        total = pool.cumulated(self.power)
        places = np.unique(np.searchsorted(total, rng.random(self.count), side="right"))
        share = total[places] - np.where(places > 0, total[places - 1], 0.0)
        return pool.eligible[places], log_of_either(0.0, share, self.count)


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

    even: ClassVar[bool] = False

    def draw(
        self, step: Step, pool: Pool, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the batch's targets, those it remembers of earlier batches, and `count` more."""
        even, probability = self.evenly(pool.eligible, rng)
        rows = np.unique(np.concatenate([even, step.targets, step.earlier]))
        return rows, log_of_either(probability, pool.share[rows], len(step.targets) + len(step.earlier))


@dataclass(kw_only=True)
class Queued(Mixed):
    """As :class:`Mixed`, and the targets of the batches before.

    What is queued is ids, and their vectors are made anew: no stale vectors, no positive of a user
    among the user's negatives, and one more way in whose probability is known. The queue begins
    empty with every epoch.

    Recommendation: small batches, whose own targets are few; with large ones :class:`Mixed` has them already.

    Source:
        Wang et al. 2021, Cross-Batch Negative Sampling for Training Two-Tower Recommenders, with ids in place of
        vectors.
    """

    batches: int = 4
    """Earlier batches whose targets are candidates once more."""

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        if self.batches < 1:
            raise ConfigError(f"sampler.batches is {self.batches}; expected at least 1")

    @property
    def memory(self) -> int:
        """As many batches as are queued."""
        return self.batches


@dataclass(kw_only=True)
class Hard(Mixed):
    """As :class:`Mixed`, and the videos that the towers of late rank first for some of the batch's users.

    These are a stratum taken whole: given the users they are in for certain, so their log q is 0, and
    the rest stand for the rest of the catalogue as before. The sum over the candidates stays an
    unbiased estimate of the one over all videos, and those that weigh most in it are no longer left to chance.

    Recommendation: catalogues too large for :class:`Catalogue`, once :class:`Mixed` no longer
    gains from a larger `count`. A loss that is not corrected then learns from the hardest alone: beware.

    Source:
        Xiong et al. 2021, Approximate Nearest Neighbor Negative Contrastive Learning, section 4, for asking an index
        that is made anew now and then; Horvitz and Thompson 1952 for the correction.
    """

    askers: int = 32
    """Users of a batch who are asked for, at most."""
    each: int = 8
    """How many videos for each of them."""
    every: int = 100
    """Steps after which the videos' vectors are taken anew, to be searched from as many steps later on, once a thread
    beside training has made them ready; at an epoch's first step they are taken and searched at once."""

    @property
    def asks(self) -> bool:
        """Whether the towers themselves must be asked: yes."""
        return True

    def __post_init__(self) -> None:
        """Check the options."""
        super().__post_init__()
        for name in ("askers", "each", "every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"sampler.{name} is {getattr(self, name)}; expected at least 1")

    def draw(
        self, step: Step, pool: Pool, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
        """Return the batch's targets, `count` more, and the hardest.

        Raises:
            ConfigError: There are no towers to ask.
        """
        if pool.hardest is None:
            raise ConfigError("sampler is hard and there are no towers to ask; expected a BatchSource with `hardest`")
        chance, chance_log_q = super().draw(step, pool, rng)
        found = pool.hardest(step, self.askers, self.each, step.number % self.every == 0)
        certain = np.unique(found[found >= 0])
        rows = np.union1d(chance, certain)
        log_q = np.zeros(len(rows))
        log_q[np.searchsorted(rows, chance)] = chance_log_q
        log_q[np.searchsorted(rows, certain)] = 0
        return rows, log_q


def log_of_either(even: float, share: Float64[np.ndarray, " m"], draws: int) -> Float64[np.ndarray, " m"]:
    """Return log(1 - (1 - even) (1 - share)^draws): in by one even draw or by any of several by share, [m].

    Example:
        >>> np.exp(log_of_either(0.5, np.array([0.0, 0.5]), 2)).tolist()
        [0.5, 0.875]
    """
    if even >= 1:
        return np.zeros(len(share))
    absent = np.log1p(-np.minimum(share, 1 - 1e-12)) * draws
    return np.log(-np.expm1(absent + np.log1p(-even)))


SAMPLERS: dict[str, type[Sampler]] = {
    "catalogue": Catalogue,
    "uniform": Uniform,
    "inbatch": InBatch,
    "popularity": Popularity,
    "mixed": Mixed,
    "queued": Queued,
    "hard": Hard,
}
