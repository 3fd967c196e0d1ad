"""Takes a long log through the commands: how long each takes, and how much memory.

    python -m benchmarks.long_log
    python -m benchmarks.long_log --users 100000 --videos 200000

Everybody watched 50 videos in ten days, of which the one of rank r is met with a share that falls as 1/r; with
`--users 1000000` and `--videos 2000000`, the default, 50 million events. Valid and test are the last few of them, since
each of their users is ranked against every video. One epoch, vectors of 64, a mean of the history, 512 candidates.
Rows go to benchmarks/results/long_log.csv; `peak_mb` is the largest memory of the command.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality import TOWERS, spend
from benchmarks.record import Circumstances, record
from towers.types import DAY_MS

EACH, DAYS, AT_ONCE = 50, 10, 50_000
BEGAN_MS = 1_700_000_000_000


def write_log(folder: Path, users: int, videos: int) -> None:
    """Write log.parquet and videos.parquet, a part of the users at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    schema = pa.schema({"user_id": pa.int64(), "video_id": pa.int64(), "time_ms": pa.int64()})
    with pq.ParquetWriter(folder / "log.parquet", schema) as log:
        for first in range(0, users, AT_ONCE):
            user = np.repeat(np.arange(first, min(first + AT_ONCE, users)), EACH)
            video = np.exp(rng.random(len(user)) * np.log(videos)).astype(np.int64)
            time_ms = BEGAN_MS + rng.integers(0, DAYS * DAY_MS, len(user))
            log.write_table(pa.table([user, video, time_ms], schema=schema))
    pq.write_table(pa.table({"video_id": np.arange(videos)}), folder / "videos.parquet")


def commands(work: Path) -> dict[str, list[str]]:
    """Return what is measured, by name."""
    dataset, run = f"dataset={work / 'dataset'}", f"run={work / 'run'}"
    files = [f"data.events={work / 'log.parquet'}", f"data.videos={work / 'videos.parquet'}", "data.repeats=all"]
    small = ["model.dim=64", "model/history=mean", "model.window=50", "sampler=mixed", "sampler.count=512"]
    return {
        "prepare": [TOWERS, "prepare", "data=files", *files, "cut.valid=0.9995", "cut.test=0.9998", dataset],
        "train": [TOWERS, "train", dataset, run, *small, "optim.epochs=1", "refit_epochs=0"],
        "publish": [TOWERS, "publish", run, f"bundle={work / 'bundle'}"],
    }


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--videos", type=int, default=2_000_000)
    parser.add_argument("--work", default="runs/long-log", help="folder for the log and what comes of it; must be new")
    arguments = parser.parse_args()
    work = Path(arguments.work)
    if work.exists():
        parser.error(f"{work} is there, so not all would be measured; remove it, or choose another --work")
    write_log(work, arguments.users, arguments.videos)
    sizes = {"users": arguments.users, "videos": arguments.videos, "events": arguments.users * EACH}
    command = f"python -m benchmarks.long_log --users {arguments.users} --videos {arguments.videos}"
    for what, words in commands(work).items():
        cost = spend(words)
        how = Circumstances(command=command, seed=0, seconds=cost.seconds, peak_mb=cost.peak_mb)
        record("long_log", [{"what": f"towers {what}", **sizes}], how)
        print(f"towers {what}: {cost.seconds:.0f} s, {cost.peak_mb:,.0f} MB", flush=True)


if __name__ == "__main__":
    main()
