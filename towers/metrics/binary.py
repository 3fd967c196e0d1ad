"""Probabilities and outcomes → numbers; each outcome may count several times, as in a bootstrap."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from towers.types import DataError

BINS = 15
"""Groups of equally many outcomes, by their probability, that the calibration error is taken over."""
LEAST = 1e-9
"""Probabilities are taken to lie at least this far from 0 and 1 by the log loss."""
BINARY = ("auc", "log_loss", "precision", "recall", "f1", "calibration_error")


@dataclass(frozen=True)
class Judgement:
    """Probabilities beside what came true, sorted by probability once.

    Attributes:
        chance: Rising, [n].
        liked: What came true, [n].
        order: Where each stood before, [n].
        threshold: Probability from which on it is said to come true.
        ends: Place after the last of each group of equal probabilities, [g].
    """

    chance: Float64[np.ndarray, " n"]
    liked: Bool[np.ndarray, " n"]
    order: Int64[np.ndarray, " n"]
    threshold: float
    ends: Int64[np.ndarray, " g"]

    @classmethod
    def of(
        cls, chance: Float64[np.ndarray, " n"], liked: Bool[np.ndarray, " n"], threshold: float = 0.5
    ) -> "Judgement":
        """Sort.

        Raises:
            DataError: A probability is none, or all outcomes are alike, so that AUC means nothing.
        """
        if not (np.isfinite(chance) & (chance >= 0) & (chance <= 1)).all():
            bad = np.flatnonzero(~(np.isfinite(chance) & (chance >= 0) & (chance <= 1)))[0]
            raise DataError(f"the probability of exposure {bad} is {chance[bad]}; expected from 0 to 1")
        if liked.all() or not liked.any():
            raise DataError(
                f"{int(liked.sum())} of {len(liked)} exposures are positives, so there is nothing to tell apart; "
                "expected some of both"
            )
        order = np.argsort(chance, kind="stable")
        rising = chance[order]
        ends = np.append(np.flatnonzero(rising[1:] > rising[:-1]) + 1, len(rising))
        return cls(rising, liked[order], order, threshold, ends)

    def figures(self, times: Float64[np.ndarray, " n"] | None = None) -> dict[str, float]:
        """Return AUC, log loss, precision, recall, F1 and calibration error.

        Precision and recall are those of saying "liked" from the threshold on. AUC counts ties half. The calibration
        error is the mean over 15 groups of equally many exposures of the distance between the mean probability and
        the share that came true.

        Args:
            times: How often each outcome counts, in the order in which they were given, [n]; once each if None.

        Example:
            >>> judged = Judgement.of(np.array([0.9, 0.2, 0.6, 0.4]), np.array([True, False, False, True]))
            >>> {name: round(value, 3) for name, value in judged.figures().items() if name != "calibration_error"}
            {'auc': 0.75, 'log_loss': 0.54, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
        """
        times = np.ones(len(self.chance)) if times is None else times[self.order]
        good, bad = times * self.liked, times * ~self.liked
        above = self.chance >= self.threshold
        kept = np.clip(self.chance, LEAST, 1 - LEAST)
        hits, said, there = float(good[above].sum()), float(times[above].sum()), float(good.sum())
        loss = -float(good @ np.log(kept) + bad @ np.log1p(-kept)) / float(times.sum())
        found = (self._auc(good, bad), loss, _share(hits, said), _share(hits, there), _share(2 * hits, said + there))
        return dict(zip(BINARY, (*found, self._calibration_error(times)), strict=True))

    def _auc(self, good: np.ndarray, bad: np.ndarray) -> float:
        below = np.concatenate([[0.0], np.cumsum(bad)[self.ends - 1]])
        won = np.diff(np.concatenate([[0.0], np.cumsum(good)[self.ends - 1]]))
        pairs = float(good.sum()) * float(bad.sum())
        return float(won @ (below[:-1] + below[1:])) / 2 / pairs if pairs else math.nan

    def _calibration_error(self, times: np.ndarray) -> float:
        return sum(abs(said - was) * count for said, was, count in self.groups(times)) / float(times.sum())

    def groups(self, times: Float64[np.ndarray, " n"] | None = None) -> list[tuple[float, float, float]]:
        """Return mean probability, share that came true and number of each group, from the least likely on."""
        times = np.ones(len(self.chance)) if times is None else times
        cuts = np.linspace(0, len(self.chance), min(BINS, len(self.chance)) + 1).astype(int)[:-1]
        count = np.add.reduceat(times, cuts)
        said = np.add.reduceat(times * self.chance, cuts)
        was = np.add.reduceat(times * self.liked, cuts)
        some = count > 0
        return list(
            zip(
                (said[some] / count[some]).tolist(),
                (was[some] / count[some]).tolist(),
                count[some].tolist(),
                strict=True,
            )
        )


def best_threshold(chance: Float64[np.ndarray, " n"], liked: Bool[np.ndarray, " n"]) -> float:
    """Return the probability from which on saying "liked" has the best F1, the highest of equals.

    Example:
        >>> best_threshold(np.array([0.9, 0.2, 0.6, 0.4]), np.array([True, False, False, True]))
        0.4
    """
    order = np.argsort(-chance, kind="stable")
    last = np.append(chance[order][1:] < chance[order][:-1], True)
    f1 = 2 * np.cumsum(liked[order]) / (np.arange(1, len(order) + 1) + liked.sum())
    return float(chance[order][np.where(last, f1, -1).argmax()])


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
