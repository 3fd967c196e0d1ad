"""Floors that are ready to rank: a block of users at a time, so that memory does not grow with them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.ials import Squares
from towers.evaluation.watched import Watched
from towers.index.in_torch import best_columns
from towers.types import Hits

SCORE_BYTES = 64 * 2**20
"""Largest block of scores, in bytes."""
USERS_AT_ONCE = 512


@dataclass(frozen=True)
class Fitted(ABC):
    """A floor that is ready to rank.

    Attributes:
        name: As the report prints it, with whatever was chosen.
    """

    name: str

    @abstractmethod
    def width(self, users: EvaluationSet, depth: int) -> int:
        """Return how many scores each user needs for a list of this depth, at least 1."""

    @abstractmethod
    def best(self, users: EvaluationSet, depth: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and catalogue positions of each user's best, the past left out.

        Args:
            users: One block of those that `width` was asked about.
            depth: Length of the lists; shorter where the width is less.
            width: What `width` returned.

        Returns:
            Scores [q, k] float32, -inf where a place stays empty, and positions [q, k] int64; equal
            scores by the lower position, k the lesser of depth and width.
        """


@dataclass(frozen=True)
class SameForAll(Fitted):
    """One order of the catalogue for everybody; only its head is looked at, never a row per user of all videos.

    Attributes:
        order: Catalogue positions, best first, [catalogue].
        place: The place of each catalogue position in that order, [catalogue].
    """

    order: Int64[np.ndarray, " catalogue"]
    place: Int64[np.ndarray, " catalogue"]

    @classmethod
    def by_counts(cls, name: str, counts: Int64[np.ndarray, " catalogue"]) -> "SameForAll":
        """Order the catalogue by falling count, equal ones by position.

        Example:
            >>> SameForAll.by_counts("popular", np.array([1, 5, 1])).order.tolist()
            [1, 0, 2]
        """
        order = np.argsort(-counts, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        return cls(name, order, place)

    def width(self, users: EvaluationSet, depth: int) -> int:
        """Return depth and the longest past: nobody can have watched more of the head than that."""
        return max(1, min(users.catalogue, depth + int(np.diff(users.history_offsets).max(initial=0))))

    def best(self, users: EvaluationSet, depth: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the head of the order less what each user has watched; scores are places below 0."""
        table = torch.arange(width, dtype=torch.float32).neg_().expand(len(users), -1).clone()
        owner = np.repeat(np.arange(len(users)), np.diff(users.history_offsets))
        place = self.place[users.history - FIRST_ROW]
        inside = place < width
        table[torch.from_numpy(owner[inside]), torch.from_numpy(place[inside])] = -torch.inf
        scores, columns = best_columns(table, min(depth, width))
        return scores.numpy(), self.order[columns.numpy()]


@dataclass(frozen=True)
class FromHistory(Fitted):
    """A video × video table, summed over what each user has watched.

    Attributes:
        weights: What having watched one video (row) is worth to another (column), [catalogue, catalogue].
    """

    weights: Float32[Tensor, "catalogue catalogue"]

    def width(self, users: EvaluationSet, depth: int) -> int:  # noqa: ARG002
        """Return the size of the catalogue."""
        return max(1, users.catalogue)

    def best(self, users: EvaluationSet, depth: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best sums, the past left out."""
        watched = torch.from_numpy(users.history - FIRST_ROW).long()
        offsets = torch.from_numpy(users.history_offsets[:-1])
        table = torch.nn.functional.embedding_bag(watched, self.weights, offsets, mode="sum")
        owner = torch.from_numpy(np.repeat(np.arange(len(users)), np.diff(users.history_offsets)))
        table[owner, watched] = -torch.inf
        scores, columns = best_columns(table, min(depth, width))
        return scores.numpy(), columns.numpy()


@dataclass(frozen=True)
class FromFactors(Fitted):
    """Vectors of videos; a user's is the one that fits best to what they have watched.

    Attributes:
        squares: What fits best.
        videos: [catalogue, d].
    """

    squares: Squares
    videos: Float32[Tensor, "catalogue d"]

    def width(self, users: EvaluationSet, depth: int) -> int:  # noqa: ARG002
        """Return the size of the catalogue."""
        return max(1, users.catalogue)

    def best(self, users: EvaluationSet, depth: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the best inner products, the past left out."""
        watched = Watched.of(users.history_offsets, users.history.astype(np.int64) - FIRST_ROW, width)
        table = self.squares.solved(watched, self.videos) @ self.videos.T
        table[torch.from_numpy(watched.owner), torch.from_numpy(watched.column)] = -torch.inf
        scores, columns = best_columns(table, min(depth, width))
        return scores.numpy(), columns.numpy()


def floor_blocks(floor: Fitted, users: EvaluationSet, depth: int) -> Iterator[Hits]:
    """Yield a floor's best videos, the past left out, ties by the lower row, a block of users at a time.

    A block has as many users as fit into `SCORE_BYTES` of scores, at most `USERS_AT_ONCE` and at
    least one: beside what was fitted, about 3 · max(64 MiB, 4 B × catalogue), thus 0.2 GB for a
    million videos, however many users there are.

    Args:
        floor: What to rank by.
        users: For whom, in order.
        depth: Length of the lists; places left empty hold -1 and -inf.
    """
    width = floor.width(users, depth)
    at_once = min(USERS_AT_ONCE, max(1, SCORE_BYTES // (4 * width)))
    for start in range(0, len(users), at_once):
        block = users.pick(np.arange(start, min(start + at_once, len(users))))
        best, positions = floor.best(block, depth, width)
        ids = np.full((len(block), depth), -1, np.int64)
        scores = np.full((len(block), depth), -np.inf, np.float32)
        ids[:, : best.shape[1]] = np.where(best > -np.inf, positions + FIRST_ROW, -1)
        scores[:, : best.shape[1]] = best
        yield Hits(ids, scores)


def rank_floor(floor: Fitted, users: EvaluationSet, depth: int) -> Hits:
    """Return a floor's best videos for each user in one piece: 12 B × users × depth. See `floor_blocks`."""
    blocks = list(floor_blocks(floor, users, depth))
    return Hits(np.concatenate([b.ids for b in blocks]), np.concatenate([b.scores for b in blocks]))
