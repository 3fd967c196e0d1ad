"""Puts batches together: gathers from flat arrays, no loop over events."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from towers.data import TIME_UNKNOWN, Positives
from towers.features.batch import Batch
from towers.features.sampler import Hardest, Pool, Sampler, Step
from towers.features.table import FeatureTable
from towers.features.trend import Trend
from towers.features.windows import Windows, last_strictly_before, pad_histories


def shuffled(positives: Positives, rng: np.random.Generator) -> Positives:
    """Return the positives with each user's in a random order, their times unknown.

    Example:
        >>> rows, ones = np.arange(5, 8, dtype=np.int32), np.ones(3, np.float32)
        >>> three = Positives(np.array([0, 0, 0, 3]), rows, np.arange(3), ones)
        >>> shuffled(three, np.random.default_rng(0)).of(2).tolist()
        [7, 6, 5]
    """
    owner = np.repeat(np.arange(len(positives.offsets) - 1), np.diff(positives.offsets))
    order = np.lexsort((rng.random(len(owner)), owner))
    unknown = np.full(len(owner), TIME_UNKNOWN)
    return Positives(positives.offsets, positives.video_row[order], unknown, positives.weight[order])


@dataclass(frozen=True)
class BatchSource:
    """Everything that the batches of a training are made of.

    Attributes:
        positives: The training events.
        users: Features of every user row.
        videos: Features of every video row.
        eligible: Rows of the videos that may be drawn as candidates, sorted, [c]: those that were there
            to be watched. A video from after the cut must not be held against anybody.
        sampler: Draws the candidates.
        window: Events of history that the towers read.
        positions: Padded positions of a batch, at most.
        shuffle: Whether each epoch puts each user's events in another order.
        part: Which part of every batch is put together here, from 0; the other processes have the others.
        parts: Into how many parts a batch is cut.
        hardest: Asks the towers that are being trained for hard candidates; None where no sampler wants them.
        trend: How popular each video was known to be, day by day; None where that is no part of the score.
        passed: What users were shown and passed over; None where that makes no difference.
        passed_weight: How many others such a video counts for among its user's candidates.
        passed_each: How many of them, the latest, are candidates for certain for each window of a batch.
    """

    positives: Positives
    users: FeatureTable
    videos: FeatureTable
    eligible: Int64[np.ndarray, " c"]
    sampler: Sampler
    window: int
    positions: int
    shuffle: bool = False
    part: int = 0
    parts: int = 1
    hardest: Hardest | None = None
    trend: Trend | None = None
    passed: Positives | None = None
    passed_weight: float = 1.0
    passed_each: int = 0

    def epoch(self, seed: int, number: int) -> Iterator[Batch]:
        """Yield every training event once, in an order that seed and epoch number fix."""
        source, windows = self._in_order(seed, number)
        rng = np.random.default_rng([seed, number])
        earlier: deque[Int64[np.ndarray, " _"]] = deque(maxlen=self.sampler.memory)
        for count, chosen in enumerate(windows.batches(self.positions, rng)):
            step = source.step(count, windows, chosen, earlier)
            yield source.batch(windows, chosen, step, rng)
            earlier.append(step.targets)

    def length(self, seed: int, number: int) -> int:
        """Return how many batches that epoch has."""
        _, windows = self._in_order(seed, number)
        return sum(1 for _ in windows.batches(self.positions, np.random.default_rng([seed, number])))

    def _in_order(self, seed: int, number: int) -> tuple["BatchSource", Windows]:
        """Return the events in the order of an epoch, and the windows that have something to learn from."""
        order = np.random.default_rng([seed, number, 1])
        source = replace(self, positives=shuffled(self.positives, order)) if self.shuffle else self
        return source, Windows.of(source.positives, self.window + 1).weighing(source.positives.weight)

    @cached_property
    def pool(self) -> Pool:
        """What candidates are drawn from."""
        counts = np.bincount(self.positives.video_row, minlength=len(self.videos)).astype(np.float64)
        return Pool(counts / max(1.0, counts.sum()), self.eligible, self.hardest)

    def step(
        self,
        number: int,
        windows: Windows,
        chosen: Int64[np.ndarray, " b"],
        earlier: Iterable[Int64[np.ndarray, " _"]] = (),
    ) -> Step:
        """Return what a sampler is told of the batch of the chosen windows; `earlier` are targets of batches before."""
        places = windows.events(chosen)
        events = np.where(places >= 0, self.positives.video_row[places], 0).astype(np.int64)
        last = np.count_nonzero(places >= 0, axis=1, keepdims=True) - 1
        return Step(
            number=number,
            targets=events[places >= windows.first[chosen, None]],
            earlier=np.concatenate([np.zeros(0, np.int64), *earlier]),
            users=windows.user[chosen],
            history=np.where(np.arange(events.shape[1]) < last, events, 0)[:, :-1],
        )

    def batch(self, windows: Windows, chosen: Int64[np.ndarray, " b"], step: Step, rng: np.random.Generator) -> Batch:
        """Return the batch of the chosen windows, or this process's part of it.

        Every process draws the candidates of the whole batch from the same rng, so that all have the same ones and
        nothing has to be sent around; the rest is done for the windows of one's own part.
        """
        places = windows.events(chosen)
        counted = places >= windows.first[chosen, None]
        targets = places[counted]
        drawn, log_q = self._with_passed(step.users, *self.sampler.draw(step, self.pool, rng))
        whole, mine = len(chosen), self._mine(len(chosen))
        chosen, places, counted = chosen[mine], places[mine], counted[mine]
        real = places >= 0
        events = np.where(real, self.positives.video_row[places], 0).astype(np.int64)
        time_ms = np.where(real, self.positives.time_ms[places], TIME_UNKNOWN)
        rows = np.union1d(drawn, events[real])
        all_log_q = np.full(len(rows), np.inf, np.float32)
        all_log_q[np.searchsorted(rows, drawn)] = log_q
        column = np.where(real, _places(rows, events, len(self.videos)), 0)
        history = np.full(events.shape, -1)
        history[:, 1:] = np.where(real[:, 1:], column[:, :-1], -1)
        users = windows.user[chosen]
        weight = np.where(counted, self.positives.weight[places], 0).astype(np.float32)
        return Batch(
            rows=torch.from_numpy(rows),
            videos=self.videos.tensors(rows),
            log_q=torch.from_numpy(all_log_q),
            history=torch.from_numpy(history),
            state=torch.from_numpy(last_strictly_before(time_ms)),
            target=torch.from_numpy(column),
            weight=torch.from_numpy(weight),
            users=self.users.tensors(users),
            time_ms=torch.from_numpy(time_ms),
            known=torch.from_numpy(self._marked(self.positives, users, rows)),
            positions=int(np.count_nonzero(self.positives.weight[targets] > 0)),
            worth=self._worth(places[counted], targets) if self.part < whole else 0.0,
            levels=torch.from_numpy(self.trend.past[rows]) if self.trend else None,
            day=torch.from_numpy(self.trend.day(time_ms)) if self.trend else None,
            bonus=self._bonus(users, rows),
            sizes=(int(np.count_nonzero(weight)), len(drawn)),
        )

    def _mine(self, whole: int) -> slice:
        """Return which windows of a batch are this process's: they lie by length, so every parts-th is a fair part.

        Where there are too few for all, the first is lent, and counts nothing.
        """
        return slice(self.part, None, self.parts) if self.part < whole else slice(0, 1)

    def _worth(self, mine: Int64[np.ndarray, " p"], all_targets: Int64[np.ndarray, " n"]) -> float:
        """Return what the mean over some targets counts in the mean over parts, see `Batch.worth`."""
        weight = self.positives.weight
        return self.parts * float(weight[mine].sum(dtype=np.float64) / weight[all_targets].sum(dtype=np.float64))

    def _with_passed(
        self, users: Int64[np.ndarray, " b"], drawn: Int64[np.ndarray, " m"], log_q: Float64[np.ndarray, " m"]
    ) -> tuple[Int64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
        """Return the candidates and, for certain, what these users were shown last and passed over."""
        if self.passed is None or not self.passed_each:
            return drawn, log_q
        latest = pad_histories(self.passed.offsets, self.passed.video_row, np.unique(users), self.passed_each)
        certain = np.intersect1d(latest, self.eligible)
        rows = np.union1d(drawn, certain)
        every_log_q = np.zeros(len(rows))
        every_log_q[np.searchsorted(rows, drawn)] = log_q
        every_log_q[np.searchsorted(rows, certain)] = 0
        return rows, every_log_q

    def _bonus(self, users: Int64[np.ndarray, " b"], rows: Int64[np.ndarray, " m"]) -> Tensor | None:
        """Return the log of how many others each video counts for, [b, m]."""
        if self.passed is None or self.passed_weight == 1:
            return None
        return torch.from_numpy(self._marked(self.passed, users, rows) * np.float32(np.log(self.passed_weight)))

    def _marked(
        self, events: Positives, users: Int64[np.ndarray, " b"], rows: Int64[np.ndarray, " m"]
    ) -> Bool[np.ndarray, "b m"]:
        """Return which of some videos are among the events of each user, [b, m]."""
        begin, end = events.offsets[users], events.offsets[users + 1]
        each = end - begin
        window = np.repeat(np.arange(len(users)), each)
        places = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each) + begin[window]
        at = _places(rows, events.video_row[places].astype(np.int64), len(self.videos))
        marked = np.zeros((len(users), len(rows)), bool)
        marked[window[at >= 0], at[at >= 0]] = True
        return marked


def _places(rows: Int64[np.ndarray, " m"], wanted: Int64[np.ndarray, "*n"], catalogue: int) -> Int64[np.ndarray, "*n"]:
    """Return the place of each wanted row among sorted ones, -1 where it is not there.

    By a table as long as the catalogue where so many are wanted that it costs less than to look for each.
    """
    if catalogue <= 4 * wanted.size:
        table = np.full(catalogue, -1)
        table[rows] = np.arange(len(rows))
        return table[wanted]
    at = np.minimum(np.searchsorted(rows, wanted), len(rows) - 1)
    return np.where(rows[at] == wanted, at, -1)
