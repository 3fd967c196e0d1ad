"""Measures what the exact ranking of a large catalogue for many users takes.

    python -m benchmarks.scale --users 1000000 --videos 1000000 --blocks 2

Everything that ranking all users holds is held: the events, the towers, the video vectors, the lists of all users;
of the users, only some blocks are ranked, since all of them would take hours, and `hours_for_all` is computed from
their rate. The log is made up: 20 events of each user, three to find, popularity falls as 1/rank.
"""

import argparse
import time

import numpy as np
import torch

from benchmarks.record import Circumstances, record, usable_threads
from towers.data import TIME_UNKNOWN, Encoders, Split
from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.exact import DEPTH, USERS_AT_ONCE, rank_blocks
from towers.features import FeatureTable
from towers.models import ModelConfig, RecencyHistory, TwoTower
from towers.types import peak_mb

PAST, SOUGHT = 20, 3


def made_up(users: int, videos: int, rng: np.random.Generator) -> EvaluationSet:
    """Return users with a past and something to find."""

    def draw(each: int) -> np.ndarray:
        return np.exp(rng.random((users, each), np.float32) * np.float32(np.log(videos))).astype(np.int64) + 1

    past, sought = draw(PAST), np.sort(draw(SOUGHT), axis=1)
    times = [np.full(users * each, TIME_UNKNOWN) for each in (PAST, SOUGHT)]
    begins = [np.arange(users + 1) * each for each in (PAST, SOUGHT)]
    rows = np.arange(FIRST_ROW, users + FIRST_ROW)
    history = past.ravel().astype(np.int32)
    return EvaluationSet(
        Split.test, rows, begins[0], history, times[0], begins[1], sought.ravel(), times[1], videos + FIRST_ROW
    )


def main() -> None:
    """Measure and record a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--videos", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=2, help=f"of {USERS_AT_ONCE} users, that are ranked")
    arguments = parser.parse_args()
    torch.set_num_threads(usable_threads())
    users = made_up(arguments.users, arguments.videos, np.random.default_rng(0))
    of_users, of_videos = (
        FeatureTable(np.zeros((n + FIRST_ROW, 0), np.int32)) for n in (arguments.users, arguments.videos)
    )
    known = torch.ones(arguments.videos + FIRST_ROW, dtype=torch.bool)
    model = ModelConfig(history=RecencyHistory(), dim=arguments.dim, window=PAST)
    towers = TwoTower(model, Encoders((), ()), known)
    ids, scores = np.full((len(users), DEPTH), -1, np.int64), np.full((len(users), DEPTH), -np.inf, np.float32)
    ranked, began, starts = 0, 0.0, range(0, len(users), USERS_AT_ONCE)
    # The first block also makes the video vectors: it is held, but not timed.
    for block, hits in rank_blocks(towers, users, of_users, of_videos, starts=starts):
        ids[ranked : ranked + len(block)], scores[ranked : ranked + len(block)] = hits.ids, hits.scores
        ranked += len(block)
        began = began or time.perf_counter()
        if ranked >= (arguments.blocks + 1) * USERS_AT_ONCE:
            break
    seconds = time.perf_counter() - began
    rate = (ranked - USERS_AT_ONCE) / seconds
    row = {
        "users": arguments.users,
        "videos": arguments.videos,
        "dim": arguments.dim,
        "ranked": ranked - USERS_AT_ONCE,
        "users_per_s": f"{rate:.1f}",
        "hours_for_all": f"{arguments.users / rate / 3600:.1f}",
    }
    command = f"python -m benchmarks.scale --users {arguments.users} --videos {arguments.videos}"
    record("evaluation", [row], Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak_mb()))
    print(row, f"{peak_mb():.0f} MB at most")


if __name__ == "__main__":
    main()
