"""A small world to test against: a log on disk, and the commands that turn it into a bundle.

python -m tests.small FOLDER    # write the log and print the commands
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from towers.cli import main

USERS, VIDEOS, EVENTS = 40, 30, 25


def write_log(folder: Path) -> Path:
    """Write events.parquet and videos.parquet: users of two tastes, each for one half of the videos."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), EVENTS)
    videos = (rng.integers(0, VIDEOS // 2, len(users)) + (users % 2) * (VIDEOS // 2)) % VIDEOS
    time_ms = 1_650_000_000_000 + rng.permutation(len(users)) * 60_000
    events = {"user_id": users, "video_id": videos, "time_ms": time_ms, "long_view": rng.integers(0, 2, len(users))}
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(events), folder / "views.parquet")
    tags = ["cats" if video < VIDEOS // 2 else "cars" for video in range(VIDEOS)]
    pq.write_table(pa.table({"video_id": np.arange(VIDEOS), "tag": tags}), folder / "videos.parquet")
    return folder


def steps(folder: Path) -> list[list[str]]:
    """Return the commands from that log to a bundle, small enough for a test."""
    data = [f"data.events={folder / 'views.parquet'}", f"data.videos={folder / 'videos.parquet'}"]
    small = ["model.dim=8", "optim.epochs=1", "optim.positions=256", "progress=false", "accelerator=cpu"]
    return [
        ["prepare", "data=files", *data, f"dataset={folder / 'dataset'}"],
        ["train", f"dataset={folder / 'dataset'}", f"run={folder / 'run'}", *small],
        ["publish", f"run={folder / 'run'}", f"bundle={folder / 'bundle'}"],
    ]


def publish_small(folder: Path) -> Path:
    """Make the log, the dataset, the run and the bundle in a folder; return the bundle."""
    write_log(folder)
    for words in steps(folder):
        if status := main(words):
            raise RuntimeError(f"towers {' '.join(words)} ended with {status}")
    return folder / "bundle"


if __name__ == "__main__":
    sys.stdout.writelines(f"{' '.join(words)}\n" for words in steps(write_log(Path(sys.argv[1]))))
