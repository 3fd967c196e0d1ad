"""Measures the user tower of requests beside torch's, for every history encoder: one user and 64, one thread.

    python -m benchmarks.user_tower

Both run in turns; a figure is the fastest of the turns' means, in processor time. Rows go to results/user_tower.csv.
"""

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.record import Circumstances, record
from towers.data import Encoder, Encoders, Kind
from towers.features import FeatureTable, Requests
from towers.models import HISTORIES, ModelConfig, TwoTower, UserTower, arrays_of, query_vectors

ROWS, PEOPLE, FEATURES = 8000, 1000, 20
ENCODERS = Encoders(
    users=tuple(Encoder(f"feature {n}", Kind.categorical, values=("a", "b")) for n in range(FEATURES)), videos=()
)


def fastest(ways: dict[str, Callable[[], object]], turns: int, turn_s: float) -> dict[str, float]:
    """Return the least mean time of a turn of each way, in microseconds."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):
        for name, way in ways.items():
            begin, count = time.process_time(), 0
            while count == 0 or time.process_time() - begin < turn_s:
                way()
                count += 1
            if turn:
                best[name] = min(best[name], (time.process_time() - begin) / count * 1e6)
    return best


def measured(kind: str, window: int, users: int, turns: int, turn_s: float) -> dict[str, object]:
    """Return the row of one encoder, of windows that are full."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    config = ModelConfig(history=HISTORIES[kind](), dim=64, window=window)
    towers = TwoTower(config, ENCODERS, torch.ones(ROWS, dtype=torch.bool)).eval()
    vectors = rng.normal(size=(ROWS, 64)).astype(np.float32) / 8
    table = FeatureTable(rng.integers(0, 4, (PEOPLE, FEATURES), dtype=np.int32))
    requests = Requests.without_times(rng.integers(2, ROWS, (users, window)))
    who = rng.integers(0, PEOPLE, users)
    tower, features = UserTower(arrays_of(towers), vectors, table), table.take(who)
    best = fastest(
        {
            "torch": lambda: query_vectors(towers, vectors, requests, features),
            "own": lambda: tower.queries(requests, who),
        },
        *(turns, turn_s),
    )
    apart = np.abs(tower.queries(requests, who) - query_vectors(towers, vectors, requests, features)).max()
    return {
        "encoder": kind,
        "window": window,
        "users": users,
        "torch_us_a_user": f"{best['torch'] / users:.1f}",
        "own_us_a_user": f"{best['own'] / users:.1f}",
        "times_faster": f"{best['torch'] / best['own']:.1f}",
        "apart": f"{apart:.1e}",
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3, help="of each way, beside one to warm up")
    parser.add_argument("--trial", action="store_true", help="record nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin, rows = time.perf_counter(), []
    for kind in (kind for kind in HISTORIES if kind != "auto"):
        for window in (50, 200):
            for users in (1, 64):
                rows.append(measured(kind, window, users, arguments.turns, 0.02))
                print(rows[-1], flush=True)
    if not arguments.trial:
        seconds, peak = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        command = "python -m benchmarks.user_tower"
        record("user_tower", rows, Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak, threads=1))


if __name__ == "__main__":
    main()
