"""Exact ranking of the whole catalogue for every user, with ties settled against the model."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.features import FeatureTable, Requests
from towers.index import Exact, top_k
from towers.metrics import Hit, Ndcg, RankingMetric, Recall
from towers.models import TwoTower, query_vectors, video_vectors
from towers.types import DataError, Hits

DEPTH = 100
"""How long the ranked lists are."""
SPARE = 28
"""How far beyond its depth a list is looked at, so that ties across its end can be settled."""
USERS_AT_ONCE = 1024
"""Also what processes deal out among themselves: blocks of one shape give the same scores wherever they are ranked."""


def rank(
    towers: TwoTower, users: EvaluationSet, user_table: FeatureTable, video_table: FeatureTable, depth: int = DEPTH
) -> Hits:
    """Return each user's best videos by exact search over the catalogue, what they watched before left out.

    Users go through in blocks, so memory is the video vectors, the index of them, one block and the answer: with
    a million users, a million videos and 64 dimensions about 0.3 + 0.4 + 0.1 + 1.2 GB.

    Where videos score the same, those that the user went on to watch are put last: a model
    must not gain by not deciding. The lists are in this order when they are written, so
    whoever scores them from a file finds the same figures.

    Args:
        towers: The model, in any mode; it is used for inference only.
        users: Whom to rank for; the time of the request is unknown.
        user_table: Features of all user rows.
        video_table: Features of all video rows.
        depth: Length of the lists.

    Returns:
        Hits whose ids are video rows, [q, depth].

    Raises:
        DataError: A vector that is not finite.
    """
    ids = np.full((len(users), depth), -1, np.int64)
    scores = np.full((len(users), depth), -np.inf, np.float32)
    start = 0
    for block, part in rank_blocks(towers, users, user_table, video_table, depth):
        stop = start + len(block)
        ids[start:stop], scores[start:stop] = part.ids, part.scores
        start = stop
    return Hits(ids, scores)


def rank_blocks(
    towers: TwoTower,
    users: EvaluationSet,
    user_table: FeatureTable,
    video_table: FeatureTable,
    depth: int = DEPTH,
    starts: Sequence[int] | None = None,
) -> Iterator[tuple[EvaluationSet, Hits]]:
    """Yield what `rank` returns, a block of users at a time: memory is the video vectors, the index and a block.

    Args:
        towers: As for `rank`.
        users: As for `rank`.
        user_table: As for `rank`.
        video_table: As for `rank`.
        depth: Length of the lists.
        starts: Places of the first users of the blocks to rank; None: all blocks.
    """
    vectors = video_vectors(towers, video_table)
    search = (_on_gpu if towers.start.is_cuda else _by_bytes)(towers, vectors[FIRST_ROW:])
    for start in range(0, len(users), USERS_AT_ONCE) if starts is None else starts:
        block = users.pick(np.arange(start, min(start + USERS_AT_ONCE, len(users))))
        past = block.history_offsets, block.history, block.history_time_ms
        requests = Requests.of(*past, np.arange(len(block)), towers.window)
        queries = query_vectors(towers, vectors, requests, user_table.take(block.users))
        yield block, settle(search(queries, block, depth + SPARE), block, depth)


Search = Callable[[Float32[np.ndarray, "q *i d"], EvaluationSet, int], Hits]
"""Queries, whose they are and how many are wanted → the best video rows by float32 products, what each user watched
before left out, ties by the lower row."""


def _by_bytes(towers: TwoTower, catalogue: Float32[np.ndarray, "videos d"]) -> Search:
    """Return the search of a CPU: several times as fast as a product of all with all."""
    index = Exact().build(catalogue, np.arange(FIRST_ROW, FIRST_ROW + len(catalogue)), towers.geometry)

    def search(queries: Float32[np.ndarray, "q *i d"], users: EvaluationSet, depth: int) -> Hits:
        return index.search(queries, depth, np.split(users.history.astype(np.int64), users.history_offsets[1:-1]))

    return search


def _on_gpu(towers: TwoTower, catalogue: Float32[np.ndarray, "videos d"]) -> Search:
    """Return the search where the towers lie."""
    there = torch.from_numpy(catalogue).to(towers.start.device)

    def search(queries: Float32[np.ndarray, "q *i d"], users: EvaluationSet, depth: int) -> Hits:
        found = top_k(queries, there, depth, users.history_offsets, users.history.astype(np.int64) - FIRST_ROW)
        return Hits(np.where(found.ids >= 0, found.ids + FIRST_ROW, -1), found.scores)

    return search


def settle(hits: Hits, users: EvaluationSet, depth: int) -> Hits:
    """Return the lists cut to depth, with ties settled against the model.

    Within a run of equal scores the relevant videos go last. Where a run of equal scores may go
    on beyond what was fetched, its relevant videos are left out altogether: among those not
    fetched there may be enough irrelevant ones to fill the list.

    Args:
        hits: Lists somewhat longer than depth, ids are video rows, [q, fetched].
        users: Whose lists they are, in order.
        depth: Length of the lists that come out; places left empty stand at the end.
    """
    relevant = users.hits(hits.ids)
    empty = hits.ids < 0
    open_end = ~empty & (hits.scores == hits.scores[:, -1:]) & (hits.scores > -np.inf)
    can_go_on = _left_over(users, hits)
    dropped = relevant & open_end & can_go_on[:, None]
    order = _order(hits.scores, relevant, empty | dropped)
    ids = np.where(dropped, -1, hits.ids)
    scores = np.where(dropped, np.float32(-np.inf), hits.scores)
    first = order[:, :depth]
    return Hits(np.take_along_axis(ids, first, 1), np.take_along_axis(scores, first, 1))


def _left_over(users: EvaluationSet, hits: Hits) -> Bool[np.ndarray, " q"]:
    """Return whose candidates were not all fetched, [q]."""
    owner = np.repeat(np.arange(len(users)), np.diff(users.history_offsets))
    masked = np.unique(owner * np.int64(users.video_rows) + users.history) // users.video_rows
    return hits.found < users.catalogue - np.bincount(masked, minlength=len(users))


def _order(
    scores: Float32[np.ndarray, "q n"], relevant: Bool[np.ndarray, "q n"], last: Bool[np.ndarray, "q n"]
) -> Int64[np.ndarray, "q n"]:
    """Return the columns by falling score, the irrelevant before the relevant, `last` at the end, else as they are."""
    place = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return np.lexsort((place, relevant, -scores, last), axis=1)


def validate(
    towers: TwoTower,
    users: EvaluationSet,
    user_table: FeatureTable,
    video_table: FeatureTable,
    part: int = 0,
    parts: int = 1,
) -> dict[str, float]:
    """Return the few figures that training is steered by: means over users with a past, exact.

    Processes of one torch.distributed group share the work: each ranks for its part of the users, whole blocks of
    them, and all return the figures over everybody, the same to the last bit as one process does.

    Users go through in blocks whose sums add up, and no list is kept: memory is the video vectors, the index of
    them and one block, with a million videos of 64 dimensions about 0.3 + 0.4 + 0.1 GB.

    Args:
        towers: The model, in any mode.
        users: The valid split.
        user_table: Features of all user rows.
        video_table: Features of all video rows.
        part: Which part of the blocks of users is this process's.
        parts: How many processes share them.

    Returns:
        `recall@100`, `recall@20`, `ndcg@10` and `hit@10`, as `evaluate` reports them.

    Raises:
        DataError: No user of the split has a past.
    """
    if not users.warm.any():
        raise DataError(f"no user of the {users.split.name} split has a past; move the cut (cut.valid) later")
    figures: dict[str, RankingMetric] = {
        "recall@100": Recall(100),
        "recall@20": Recall(20),
        "ndcg@10": Ndcg(10),
        "hit@10": Hit(10),
    }
    starts, counted = _turns(len(users), part, parts)
    for figure in figures.values():  # torchmetrics warns of a figure that was never told of anybody
        figure.update(torch.zeros(0, DEPTH, dtype=torch.bool), torch.zeros(0, dtype=torch.int64))
    for number, (block, found) in enumerate(rank_blocks(towers, users, user_table, video_table, starts=starts)):
        if number == counted:
            break
        hits = torch.from_numpy(block.hits(found.ids)[block.warm])
        relevant = torch.from_numpy(block.relevant[block.warm])
        for figure in figures.values():
            figure.update(hits, relevant)
    return {name: float(figure.compute()) for name, figure in figures.items()}


def _turns(users: int, part: int, parts: int) -> tuple[list[int], int]:
    """Return where the blocks begin that a process ranks, and how many of them count.

    Towers whose tables are dealt out answer when all ask together, so all ask equally often: a process with a block
    less than others ends with the first one, which counts nothing.
    """
    own = range(part * USERS_AT_ONCE, users, parts * USERS_AT_ONCE)
    rounds = -(-users // (parts * USERS_AT_ONCE))
    return [*own, *[0] * (rounds - len(own))], len(own)
