"""What towers have to beat: popularity, recent popularity, item neighbours, EASE and iALS.

Each floor is given the same past, masks and candidates as the towers. Its equal scores are
ordered by the lower row, which on average neither helps nor harms it; to settle them against
it would only lower the bar.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from towers.data import TIME_UNKNOWN
from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.fitted import Fitted, FromFactors, FromHistory, SameForAll, floor_blocks
from towers.evaluation.ials import Squares, video_factors
from towers.evaluation.past import Past
from towers.metrics import ranking
from towers.types import DAY_MS, ConfigError

DENSE_LIMIT = 12_000
"""Largest catalogue for which a video × video table is filled: 12,000² × 4 B = 0.6 GB."""
FACTORED_LIMIT = 3_000_000
"""Most positives that are factored: 430,000 take 9 s on one thread of an AMD EPYC, and time grows with them."""
SMALL_SYSTEM = 128


@dataclass(kw_only=True)
class Floor(ABC):
    """Something simple that a model must beat; fitted on the past alone."""

    def refusal(self, past: Past) -> str | None:
        """Return why this floor cannot be fitted on this past, or None."""
        return None if past.catalogue else "the catalogue is empty"

    @abstractmethod
    def fit(self, past: Past) -> Fitted:
        """Return the floor fitted on everything before the split, options chosen on valid."""


@dataclass(kw_only=True)
class Popular(Floor):
    """The videos with the most positives; the same list for everybody."""

    def fit(self, past: Past) -> Fitted:
        """Count positives."""
        return SameForAll.by_counts("popular", past.counts(np.ones(len(past.column), bool)))


@dataclass(kw_only=True)
class PopularInLast(Floor):
    """The videos most often among the newest few positives of a user: recency where no time is known."""

    events: int = 5
    """How many of each user's newest positives count."""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.events < 1:
            raise ConfigError(f"events is {self.events}; popularity needs at least 1 positive of each user")

    def fit(self, past: Past) -> Fitted:
        """Count the newest positives of each user."""
        from_end = np.repeat(past.offsets[1:], np.diff(past.offsets)) - np.arange(len(past.column))
        name = f"popular in each user's last {self.events}"
        return SameForAll.by_counts(name, past.counts(from_end <= self.events))


@dataclass(kw_only=True)
class PopularInDays(Floor):
    """The videos with the most positives in the last days before the cut."""

    days: list[int] = field(default_factory=lambda: [1, 3, 7])
    """Lengths to choose from, by recall@100 on valid."""

    def __post_init__(self) -> None:
        """Check the options."""
        if not self.days or min(self.days) < 1:
            raise ConfigError(f"days is {self.days}; expected whole numbers of days, at least 1")

    def refusal(self, past: Past) -> str | None:
        """Refuse a past without times."""
        return None if (past.time_ms != TIME_UNKNOWN).any() else "no event before the cut has a time"

    def fit(self, past: Past) -> Fitted:
        """Choose the number of days on valid, then count before the cut."""
        best = past.choose(self.days, lambda fit, asked, days: recall_of(self._counted(fit, days), asked))
        return self._counted(past, best)

    @staticmethod
    def _counted(past: Past, days: int) -> Fitted:
        since = past.time_ms.max(initial=TIME_UNKNOWN + days * DAY_MS) - days * DAY_MS
        name = f"popular in the last {f'{days} days' if days > 1 else 'day'}"
        return SameForAll.by_counts(name, past.counts(past.time_ms > since))


@dataclass(kw_only=True)
class ItemKnn(Floor):
    """Videos watched by the same users: cosine between columns of the user × video matrix, summed over the past.

    Source:
        Deshpande and Karypis 2004, Item-based top-N recommendation algorithms, §4.1, with all neighbours.
    """

    def refusal(self, past: Past) -> str | None:
        """Refuse a catalogue whose video × video table would not fit."""
        return _too_large(past)

    def fit(self, past: Past) -> Fitted:
        """Fill the table of cosines."""
        gram = past.gram()
        norm = gram.diagonal().clamp(min=1).sqrt()
        gram.div_(norm[:, None]).div_(norm[None, :]).fill_diagonal_(0)
        return FromHistory("item-kNN (cosine)", gram)


@dataclass(kw_only=True)
class Ease(Floor):
    """A linear model of the catalogue on itself, in closed form: the strongest floor on most small catalogues.

    Source:
        Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data, eq. 8.
    """

    ridges: list[float] = field(default_factory=lambda: [50.0, 200.0, 800.0, 1600.0, 3200.0])
    """Penalties to choose from, by recall@100 on valid."""
    choosing_videos: int = 4000
    """The penalty is chosen for this many of the most popular videos: the cost is cubic in the catalogue."""

    def __post_init__(self) -> None:
        """Check the options."""
        if not self.ridges or min(self.ridges) <= 0:
            raise ConfigError(f"ridges is {self.ridges}; expected numbers above 0, or the system has no solution")

    def refusal(self, past: Past) -> str | None:
        """Refuse a catalogue whose video × video table would not fit."""
        return _too_large(past)

    def fit(self, past: Past) -> Fitted:
        """Choose the penalty on valid, then solve for everything before the cut."""
        best = past.most_popular(self.choosing_videos).choose(
            self.ridges, lambda fit, asked, ridge: recall_of(self._solved(fit, ridge), asked)
        )
        return self._solved(past, best)

    @staticmethod
    def _solved(past: Past, ridge: float) -> Fitted:
        return FromHistory(f"EASE (ridge {ridge:g})", ease_weights(past.gram(), ridge))


@dataclass(kw_only=True)
class Ials(Floor):
    """Matrix factorisation of what was watched, by alternating least squares: a floor for larger catalogues too.

    Source:
        Hu, Koren and Volinsky 2008, Collaborative filtering for implicit feedback datasets; penalty and order of
        options after Rendle et al. 2022, Revisiting the performance of iALS on item recommendation benchmarks.
    """

    factors: int = 64
    """Length of the vectors."""
    sweeps: int = 5
    """How often all users and all videos are solved for."""
    choosing_factors: int = 32
    """Length of the vectors by which the penalty is chosen, after half as many sweeps."""
    choosing_users: int = 4000
    """Most users of valid that are asked for that."""
    unobserved: float = 0.03
    """What a pair of user and video weighs that did not meet; one that did weighs 1 more."""
    penalties: list[float] = field(default_factory=lambda: [0.003, 0.006, 0.012, 0.024, 0.048])
    """On the vectors' lengths, to choose from by recall@100 on valid."""

    def __post_init__(self) -> None:
        """Check the options."""
        for name in ("factors", "sweeps", "choosing_factors", "choosing_users"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least 1")
        if not self.unobserved > 0:
            raise ConfigError(f"unobserved is {self.unobserved}; expected above 0, or all vectors may be alike")
        if not self.penalties or min(self.penalties) <= 0:
            raise ConfigError(f"penalties is {self.penalties}; expected numbers above 0")

    def refusal(self, past: Past) -> str | None:
        """Refuse a log whose factorisation would take minutes."""
        if len(past.column) > FACTORED_LIMIT:
            return f"the past has {len(past.column):,} positives and is factored by iALS up to {FACTORED_LIMIT:,}"
        return super().refusal(past)

    def fit(self, past: Past) -> Fitted:
        """Choose the penalty on valid, then factor everything before the cut."""
        few, short = (self.sweeps + 1) // 2, min(self.factors, self.choosing_factors)
        best = past.choose(
            self.penalties,
            lambda fit, asked, penalty: recall_of(
                self._factored(fit, penalty, few, short), asked.pick(np.arange(min(len(asked), self.choosing_users)))
            ),
        )
        return self._factored(past, best, self.sweeps, self.factors)

    def _factored(self, past: Past, penalty: float, sweeps: int, factors: int) -> Fitted:
        squares = Squares(self.unobserved, penalty)
        vectors = video_factors(past.watched(), past.catalogue, squares, factors, sweeps)
        return FromFactors(f"iALS (penalty {penalty:g})", squares, vectors)


FLOORS: dict[str, type[Floor]] = {
    "popular": Popular,
    "popular_in_last": PopularInLast,
    "popular_in_days": PopularInDays,
    "item_knn": ItemKnn,
    "ease": Ease,
    "ials": Ials,
}
"""Option value → floor."""


def ease_weights(gram: Float32[Tensor, "n n"], ridge: float) -> Float32[Tensor, "n n"]:
    """Return the video × video weights of EASE, zero on the diagonal, [n, n], in the memory of `gram`.

    Formula: `P = (G + ridge·I)⁻¹`, weights `−P_ij / P_jj`. In float32: on the bundled log the metrics
    equal those of float64 to the last digit, in half the time and memory.

    Args:
        gram: Users who watched both, [n, n]; overwritten.
        ridge: Penalty, above 0.
    """
    gram.diagonal().add_(ridge)
    _invert(gram)
    return gram.div_(-gram.diagonal().clone()).fill_diagonal_(0)


def _invert(system: Float32[Tensor, "n n"]) -> None:
    """Invert a symmetric positive definite matrix in place, by halves, in n² B beside it.

    Products keep all cores busy, LAPACK's inverse does not.

    Source:
        Golub and Van Loan 2013, Matrix Computations, §3.2.11: the Schur complement of a leading block.
    """
    half = len(system) // 2
    if half < SMALL_SYSTEM:
        system.copy_(torch.from_numpy(np.linalg.inv(system.double().numpy())))
        return
    first, across, last = system[:half, :half], system[:half, half:], system[half:, half:]
    _invert(first)
    reach = first @ across
    last.addmm_(across.T, reach, alpha=-1)
    _invert(last)
    across.copy_(reach @ last).neg_()
    first.addmm_(across, reach.T, alpha=-1)
    system[half:, :half] = across.T


def recall_of(floor: Fitted, users: EvaluationSet) -> float:
    """Return a floor's mean recall@100, as options are chosen by."""
    begun, values = 0, np.empty(len(users))
    for block in floor_blocks(floor, users, 100):
        part = users.pick(np.arange(begun, begun + len(block.ids)))
        values[begun : begun + len(part)] = ranking.recall(part.hits(block.ids), part.relevant, 100)
        begun += len(part)
    return float(values.mean())


def _too_large(past: Past) -> str | None:
    if past.catalogue <= DENSE_LIMIT:
        return None
    return f"the catalogue has {past.catalogue:,} videos and its video × video table is filled up to {DENSE_LIMIT:,}"
