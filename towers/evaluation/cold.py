"""How well towers tell apart videos that nobody has watched yet: by what they are, since nothing else is known."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.interval import Figure, intervals
from towers.features import FeatureTable, Requests
from towers.models import TwoTower, query_vectors, video_vectors

SCORES_AT_ONCE = 2**24
"""64 MB of scores to a block of users."""
WITHIN = 100


def among_new(
    towers: TwoTower,
    users: EvaluationSet,
    tables: tuple[FeatureTable, FeatureTable],
    new_video: Bool[np.ndarray, " catalogue"],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Figure | float]:
    """Return how new videos that their users went on to watch stand among all new ones.

    Among all videos new ones hardly ever come first, and whether a few users' do says little; among themselves they
    can be compared, as they are wherever places of a page are kept for them. Popularity comes to chance, which is .5
    of the first figure and 100 / `cold videos: in all` of the second: it knows them all alike.

    Args:
        towers: The model, in any mode.
        users: Who was asked; those with a past who watched a new video count, each alike.
        tables: Features of all user rows and of all video rows.
        new_video: Whether nobody had watched a catalogue position before the split, [catalogue].
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        `cold videos: auc`, how often one that was watched scores above another one, equals by half, and
        `cold videos alone: recall@100`, of the best hundred new ones, equals in no order, each with its interval;
        `cold videos: in all`, how many are new. Nothing where no new video was watched, or only one is new.

    Example:
        A user watched the second best of 761 new videos: auc 759 / 760, recall@100 1.
    """
    owner = users.truth_owner
    wanted = new_video[users.truth - FIRST_ROW] & users.warm[owner]
    rows = np.flatnonzero(new_video) + FIRST_ROW
    if not wanted.any() or len(rows) < 2:
        return {}
    vectors = video_vectors(towers, tables[1])
    asking = np.unique(owner[wanted])
    step = max(1, SCORES_AT_ONCE // len(rows))
    each = np.concatenate([
        _of_users(towers, users.pick(asking[start : start + step]), tables[0], vectors, rows)
        for start in range(0, len(asking), step)
    ])
    auc, recall = intervals(each, draws, seed)
    return {
        "cold videos: in all": float(len(rows)),
        "cold videos: auc": auc,
        "cold videos alone: recall@100": recall,
    }


def _of_users(
    towers: TwoTower,
    users: EvaluationSet,
    user_table: FeatureTable,
    vectors: Float32[np.ndarray, "rows d"],
    rows: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, "q 2"]:
    """Return each user's auc and recall, means over the new videos that were watched."""
    past = (users.history_offsets, users.history, users.history_time_ms)
    requests = Requests.of(*past, np.arange(len(users)), towers.window)
    queries = query_vectors(towers, vectors, requests, user_table.take(users.users))
    scores = queries @ vectors[rows].T
    if scores.ndim == 3:
        scores = scores.max(1)
    found = np.full((len(users), 2), np.nan)
    for user, line in enumerate(scores):
        seeks = users.truth[users.truth_offsets[user] : users.truth_offsets[user + 1]]
        sought = line[np.isin(rows, seeks), None]
        below, equal = (line < sought).sum(1), (line == sought).sum(1)
        above = len(rows) - below - equal
        found[user, 0] = ((below + (equal - 1) / 2) / (len(rows) - 1)).mean()
        found[user, 1] = np.clip((WITHIN - above) / equal, 0, 1).mean()
    return found
