"""How well towers tell apart videos that nobody has watched yet: by what they are, since nothing else is known."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.interval import Figure, intervals
from towers.features import FeatureTable, Requests
from towers.models import TwoTower, query_vectors, video_vectors

SCORES_AT_ONCE = 2**24
"""64 MB of scores to a block of users."""


def cold_auc(
    towers: TwoTower,
    users: EvaluationSet,
    tables: tuple[FeatureTable, FeatureTable],
    new_video: Bool[np.ndarray, " catalogue"],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Figure]:
    """Return how often a new video that its user went on to watch scores above another new one.

    Among all videos new ones hardly ever come first, and whether a few users' do says little; among themselves
    they can be compared. .5 is chance, and what popularity comes to: it knows them all alike.

    Args:
        towers: The model, in any mode.
        users: Who was asked; those with a past who watched a new video count, each alike.
        tables: Features of all user rows and of all video rows.
        new_video: Whether nobody had watched a catalogue position before the split, [catalogue].
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        `cold videos: auc` with its interval; nothing where no new video was watched, or only one is new.
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
    return {"cold videos: auc": intervals(each[:, None], draws, seed)[0]}


def _of_users(
    towers: TwoTower,
    users: EvaluationSet,
    user_table: FeatureTable,
    vectors: Float32[np.ndarray, "rows d"],
    rows: Int64[np.ndarray, " n"],
) -> Float64[np.ndarray, " q"]:
    """Return each user's mean share of the other new videos that score below the ones watched, equals by half."""
    past = (users.history_offsets, users.history, users.history_time_ms)
    requests = Requests.of(*past, np.arange(len(users)), towers.window)
    queries = query_vectors(towers, vectors, requests, user_table.take(users.users))
    scores = queries @ vectors[rows].T
    if scores.ndim == 3:
        scores = scores.max(1)
    found = np.full(len(users), np.nan)
    for user, line in enumerate(scores):
        seeks = users.truth[users.truth_offsets[user] : users.truth_offsets[user + 1]]
        place = np.flatnonzero(np.isin(rows, seeks))
        below = (line < line[place, None]).sum(1) + ((line == line[place, None]).sum(1) - 1) / 2
        found[user] = float(below.mean()) / (len(rows) - 1)
    return found
