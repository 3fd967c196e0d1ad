"""All that a floor may be fitted on: everybody's positives before a split."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from towers.data import Dataset, Split
from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet, past_of
from towers.evaluation.watched import Watched
from towers.types import DataError

Option = TypeVar("Option", int, float)
CHOOSING_USERS = 8000
PAIRS_AT_ONCE = 20_000_000


@dataclass(frozen=True)
class Past:
    """Positives of all users before a split.

    Attributes:
        offsets: Where each user's positives begin, [users + 1].
        column: Catalogue positions 0 … catalogue - 1, oldest first within a user, [n].
        time_ms: When, UTC, [n]; unknown is the least int64.
        catalogue: How many videos may be recommended.
        training: Positives of train alone, and who is asked on valid; options are chosen with
            these. None where there is nobody to ask.
    """

    offsets: Int64[np.ndarray, " users1"]
    column: Int64[np.ndarray, " n"]
    time_ms: Int64[np.ndarray, " n"]
    catalogue: int
    training: "tuple[Past, EvaluationSet] | None" = None

    @classmethod
    def of(cls, dataset: Dataset, split: Split) -> "Past":
        """Read everything before a split of a dataset."""
        past = cls._of_splits(dataset, past_of(split))
        return cls(past.offsets, past.column, past.time_ms, past.catalogue, cls._choosing(dataset))

    @classmethod
    def _of_splits(cls, dataset: Dataset, splits: list[Split]) -> "Past":
        positives = dataset.positives(*splits)
        column = positives.video_row.astype(np.int64) - FIRST_ROW
        return cls(positives.offsets, column, positives.time_ms, len(dataset.videos) - FIRST_ROW)

    @classmethod
    def _choosing(cls, dataset: Dataset) -> "tuple[Past, EvaluationSet] | None":
        if not dataset.positives(Split.valid).counts().any():
            return None
        asked = EvaluationSet.of(dataset, Split.valid)
        asked = asked.pick(np.flatnonzero(asked.warm)[:CHOOSING_USERS])
        return (cls._of_splits(dataset, [Split.train]), asked) if len(asked) else None

    def counts(self, selected: Bool[np.ndarray, " n"]) -> Int64[np.ndarray, " catalogue"]:
        """Count the selected positives of each video, [catalogue]."""
        return np.bincount(self.column[selected], minlength=self.catalogue)

    def gram(self) -> Float32[Tensor, "catalogue catalogue"]:
        """Count, for each two videos, the users who watched both, however often, [catalogue, catalogue].

        Whole numbers below 2^24, so float32 holds them exactly. Only pairs that occur are
        touched: the cost goes with the sum of squared history lengths, not with the table.
        """
        table = torch.zeros(self.catalogue * self.catalogue)
        watched = self.watched()
        offsets, column = watched.offsets, watched.column
        lengths = np.diff(offsets)
        bounds = np.searchsorted(np.cumsum(lengths**2), np.arange(0, int((lengths**2).sum()), PAIRS_AT_ONCE))
        for first, last in zip(bounds, [*bounds[1:], len(lengths)], strict=True):
            part = lengths[first:last]
            partners = np.repeat(part, part)
            left = np.repeat(column[offsets[first] : offsets[last]], partners)
            begin = np.repeat(np.repeat(offsets[first:last], part), partners)
            step = np.arange(len(left)) - np.repeat(np.cumsum(partners) - partners, partners)
            pairs = torch.from_numpy(left * self.catalogue + column[begin + step])
            table.index_add_(0, pairs, torch.ones(len(pairs)))
        return table.view(self.catalogue, self.catalogue)

    def watched(self) -> Watched:
        """Return each user's videos, once each, rising."""
        return Watched.of(self.offsets, self.column, self.catalogue)

    def most_popular(self, videos: int) -> "Past":
        """Return the past as if the catalogue were its most popular videos alone, renumbered by popularity.

        What is chosen on valid is asked over the same videos; users who have none of them to find
        are not asked.

        Args:
            videos: How many to keep.
        """
        if videos >= self.catalogue:
            return self
        keep = np.argsort(-self.counts(np.ones(len(self.column), bool)), kind="stable")[:videos]
        place = np.full(self.catalogue, -1)
        place[keep] = np.arange(videos)
        training = self.training and (self.training[0]._only(place), _renumber(self.training[1], place))
        return replace(self._only(place), training=training)

    def _only(self, place: Int64[np.ndarray, " catalogue"]) -> "Past":
        kept, offsets = _kept(self.offsets, place[self.column] >= 0)
        return Past(offsets, place[self.column[kept]], self.time_ms[kept], int(place.max()) + 1)

    def choose(self, options: Sequence[Option], recall: "Callable[[Past, EvaluationSet, Option], float]") -> Option:
        """Return the option with the best recall on valid when fitted on train; equal ones: the later.

        The options are taken in their order as a scale on which recall has one peak: from the
        middle one it is followed uphill, so that not all need be tried.

        Args:
            options: Rising along the scale.
            recall: What an option reaches, given what to fit on and whom to ask.

        Raises:
            DataError: No options.
        """
        if not options:
            raise DataError("there is no option to choose from; name at least one")
        here = len(options) // 2
        if self.training is None:
            return options[here]
        fit, asked = self.training
        known: dict[int, float] = {}

        def at(place: int) -> tuple[float, int]:
            if place not in known:
                known[place] = recall(fit, asked, options[place]) if 0 <= place < len(options) else -1.0
            return known[place], place

        while (best := max(at(here - 1), at(here), at(here + 1))[1]) != here:
            here = best
        return options[here]


def _renumber(asked: EvaluationSet, place: Int64[np.ndarray, " catalogue"]) -> EvaluationSet:
    """Return the set over the videos that have a new place, renumbered; users left with nothing to find go."""
    kept, history_offsets = _kept(asked.history_offsets, place[asked.history - FIRST_ROW] >= 0)
    wanted, truth_offsets = _kept(asked.truth_offsets, place[asked.truth - FIRST_ROW] >= 0)
    part = EvaluationSet(
        asked.split,
        asked.users,
        history_offsets,
        (place[asked.history[kept] - FIRST_ROW] + FIRST_ROW).astype(np.int32),
        asked.history_time_ms[kept],
        truth_offsets,
        place[asked.truth[wanted] - FIRST_ROW] + FIRST_ROW,
        asked.truth_time_ms[wanted],
        int(place.max()) + 1 + FIRST_ROW,
    )
    return part.pick(np.flatnonzero(part.relevant))


def _kept(
    offsets: Int64[np.ndarray, " n1"], wanted: Bool[np.ndarray, " n"]
) -> tuple[Int64[np.ndarray, " kept"], Int64[np.ndarray, " n1"]]:
    """Return which entries of a ragged array stay, and the offsets of those that do."""
    before = np.concatenate([[0], np.cumsum(wanted)])
    return np.flatnonzero(wanted), before[offsets]
