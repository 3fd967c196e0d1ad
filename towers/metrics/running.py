"""The same metrics as torchmetrics classes: sums and counts that add up over batches and processes.

torchmetrics' own retrieval metrics drop predictions ≤ 0 (its issue 3160) and keep every
score; only its `Metric` base, the state and its synchronisation, is built on here.
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric

from towers.metrics import ranking
from towers.types import ConfigError, DataError

COARSE, FINE = 2.0**26, 2.0**52


class RankingMetric(Metric, ABC):
    """The mean over users of one per-user value; subclasses say which.

    State: `total` (sum of values, float64, in a coarse and a fine part) and `users` (count, int64), both
    summed over processes, so the mean is over all users of all ranks whatever their share. The parts
    are whole multiples of 2^-26 and 2^-52, so up to 2^27 users their sums are exact: however the users
    are dealt out, the mean is the same to the last bit.

    Args:
        k: How many of the first candidates count.

    Raises:
        ConfigError: A k below 1.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    total: Tensor
    users: Tensor

    def __init__(self, k: int) -> None:
        super().__init__()
        if k < 1:
            raise ConfigError(f"k is {k}; a metric needs a k of at least 1")
        self.k = k
        self.add_state("total", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("users", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the value of each user, [q]."""

    def update(self, hits: Bool[Tensor, "q depth"], relevant: Int[Tensor, " q"]) -> None:
        """Add users.

        Args:
            hits: Whether the video at each rank is relevant, [q, depth].
            relevant: How many videos each user had to find, [q]; at least 1.
        """
        values = self.values(hits.cpu().numpy(), relevant.cpu().numpy())
        coarse = np.round(values * COARSE) / COARSE
        fine = np.round((values - coarse) * FINE) / FINE
        self.total += torch.tensor([coarse.sum(), fine.sum()], dtype=torch.float64, device=self.total.device)
        self.users += len(values)

    def compute(self) -> Float[Tensor, ""]:
        """Return the mean over all users so far.

        Raises:
            DataError: No user was added, so there is no mean.
        """
        if int(self.users) == 0:
            raise DataError(f"{type(self).__name__}@{self.k} has seen 0 users; call update before compute")
        return self.total.sum() / self.users


class Hit(RankingMetric):
    """Share of users who find anything among the first k; see `ranking.hit`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return 1 or 0 for each user, [q]."""
        return ranking.hit(hits, relevant, self.k)


class Recall(RankingMetric):
    """Mean of hits / relevant; see `ranking.recall`.

    Example:
        >>> recall = Recall(k=2)
        >>> recall.update(torch.tensor([[True, False], [False, False]]), torch.tensor([2, 1]))
        >>> float(recall.compute())
        0.25
    """

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the recall of each user, [q]."""
        return ranking.recall(hits, relevant, self.k)


class RecallCapped(RankingMetric):
    """Mean of hits / min(relevant, k); see `ranking.recall_capped`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the capped recall of each user, [q]."""
        return ranking.recall_capped(hits, relevant, self.k)


class Precision(RankingMetric):
    """Mean of hits / k; see `ranking.precision`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the precision of each user, [q]."""
        return ranking.precision(hits, relevant, self.k)


class F1(RankingMetric):
    """Mean over users of the harmonic mean of precision and recall; see `ranking.f1`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the F1 of each user, [q]."""
        return ranking.f1(hits, relevant, self.k)


class Ndcg(RankingMetric):
    """Mean normalised discounted gain, ideal capped at k; see `ranking.ndcg`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the NDCG of each user, [q]."""
        return ranking.ndcg(hits, relevant, self.k)


class Mrr(RankingMetric):
    """Mean of one over the rank of the first hit; see `ranking.mrr`."""

    def values(self, hits: ranking.HitMatrix, relevant: ranking.Relevant) -> ranking.PerUser:
        """Return the reciprocal rank of each user, [q]."""
        return ranking.mrr(hits, relevant, self.k)


class Coverage(Metric):
    """Share of the catalogue that is shown to anybody among the first k.

    Formula: `|∪_u L_u| / |catalogue|`, L_u the first k of user u. State: one flag per video,
    joined over processes by maximum.

    Args:
        k: How many of the first candidates count.
        videos: Size of the catalogue.

    Raises:
        ConfigError: A k or a catalogue below 1.

    Example:
        >>> coverage = Coverage(k=2, videos=4)
        >>> coverage.update(torch.tensor([[0, 3, 1], [3, 0, -1]]))
        >>> float(coverage.compute())
        0.5
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    shown: Tensor

    def __init__(self, k: int, videos: int) -> None:
        super().__init__()
        if k < 1 or videos < 1:
            raise ConfigError(f"k is {k} and the catalogue has {videos} videos; both must be at least 1")
        self.k, self.videos = k, videos
        self.add_state("shown", torch.zeros(videos, dtype=torch.int8), dist_reduce_fx="max")

    def update(self, columns: Int[Tensor, "q depth"]) -> None:
        """Add lists.

        Args:
            columns: Catalogue positions 0 … videos - 1, best first, [q, depth]; an empty place is -1.

        Raises:
            DataError: A position outside the catalogue.
        """
        top = columns[:, : self.k]
        top = top[top != -1]
        if top.numel() and not 0 <= int(top.min()) <= int(top.max()) < self.videos:
            raise DataError(
                f"lists hold positions {int(top.min())} to {int(top.max())}, the catalogue has 0 to {self.videos - 1};"
                " give catalogue positions, -1 for an empty place"
            )
        self.shown[top] = 1

    def compute(self) -> Float[Tensor, ""]:
        """Return shown videos / catalogue."""
        return self.shown.sum(dtype=torch.float64) / self.videos


METRICS: dict[str, type[RankingMetric]] = {
    "hit": Hit,
    "recall": Recall,
    "recall_capped": RecallCapped,
    "precision": Precision,
    "f1": F1,
    "ndcg": Ndcg,
    "mrr": Mrr,
}
"""Metric name → class; `coverage` stands apart because it looks at lists, not at hits."""
