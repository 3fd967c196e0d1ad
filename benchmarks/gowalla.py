"""The published split of Gowalla, as the towers read it: each user's places in the order of their visits.

Its files pass for sets of places. They are in the order of visits, as `python -m benchmarks.order` shows, but for the
last eighth of each user's train, which was drawn at random, once validated, and stands appended. Test comes after.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

APPENDED = 8
"""One in so many of a user's places in train stands at the end, out of order."""
SHORT = 5
"""Places of a user below which none of them validates."""


def gowalla_m1(data: Path, folder: Path) -> list[str]:
    """Write the published split for `towers prepare`; return its options.

    The latest tenth of the ordered places of each user's train validates. Those whose order is lost come before all
    others: put where they fit best, they would tell of the time of valid what nothing tells of the time of test.
    """
    train, test = gowalla_lists(data / "gowalla-m1" / "train.txt"), gowalla_lists(data / "gowalla-m1" / "test.txt")
    rows: list[tuple[int, int, int, str]] = []
    for user, places in train.items():
        ordered, drawn = in_order(places)
        held = max(1, len(places) // 10) if len(places) >= SHORT else 0
        fit, latest = drawn + ordered[: len(ordered) - held], ordered[len(ordered) - held :]
        parts = {"train": fit, "valid": latest, "test": test.get(user, [])}
        placed = [(video, split) for split, part in parts.items() for video in part]
        rows += [(user, video, place, split) for place, (video, split) in enumerate(placed)]
    for user in test.keys() - train.keys():
        rows += [(user, video, place, "test") for place, video in enumerate(test[user])]
    catalogue = 1 + max(video for _, video, _, _ in rows)
    columns = dict(zip(("user_id", "video_id", "position", "split"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(columns), folder / "events.parquet")
    pq.write_table(pa.table({"video_id": np.arange(catalogue)}), folder / "videos.parquet")
    files = [f"data.events={folder / 'events.parquet'}", f"data.videos={folder / 'videos.parquet'}"]
    return ["data=files", "data.protocol=gowalla-m1", *files]


def gowalla_lists(path: Path) -> dict[int, list[int]]:
    """Return each user's places, as a file of Gowalla has them."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {int(user): [int(place) for place in places] for user, *places in filter(None, lines) if places}


def in_order(places: list[int]) -> tuple[list[int], list[int]]:
    """Return a user's places of train in the order of visits, and those whose order is lost.

    Example:
        >>> in_order([0, 1, 2, 4, 5, 6, 7, 8, 3])
        ([0, 1, 2, 4, 5, 6, 7, 8], [3])
    """
    ordered = len(places) - len(places) // APPENDED
    return places[:ordered], places[ordered:]
