"""Says what became slower, beyond the noise, between two recordings of the same measurements.

    python -m benchmarks.compare OLD.csv NEW.csv
    python -m benchmarks.compare 10e07da 499fe5e --results searches    # two commits of one file of results

Rows belong together when everything agrees that was set and not measured; the rounds of each side are their noise.
Something is slower when its median took more than `--least` times as long and also more than either side's own rounds
lie apart; where a side has one round only, more than ALONE times as long. Whatever finds less is named as well, since
its time says nothing. Exit status: 0 nothing of this kind, 1 something, 2 nothing to compare.
"""

import argparse
import csv
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.record import COLUMNS, RESULTS, read

ALONE, LOST = 1.25, 0.005
MEASURED = (
    *("run", "round", "p50_us", "p99_us", "longest_us", "above_5_ms", "measured", "value", "qps", "recall@100"),
    *("build_s", "bytes_a_video", "share", "per_second", "over_raw", "limit_us"),
)
"""Columns of what was measured, or that tell rounds apart."""
Rows = list[dict[str, str]]
Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Change:
    """How one measurement changed.

    Attributes:
        what: What was set.
        ratio: New median over old.
        noise: The ratio up to which it may be noise.
        gained: How much more of the true best is found.
    """

    what: Key
    ratio: float
    noise: float
    gained: float

    @property
    def slower(self) -> bool:
        """Whether it takes longer, beyond the noise."""
        return self.ratio > self.noise

    @property
    def verdict(self) -> str:
        """What there is to say, in a word or two."""
        if self.gained < -LOST:
            return "finds less"
        return "slower" if self.slower else "faster" if self.ratio * self.noise < 1 else "as before"


def settings(row: dict[str, str]) -> Key:
    """Return what was set, of a row; the effort that a library found by itself for a recall is none of it."""
    left_out = {*COLUMNS, *MEASURED, *(("setting",) if "aim" in row else ())} - {"threads", "device"}
    return tuple((name, value) for name, value in row.items() if name not in left_out)


def changes(old: Rows, new: Rows, column: str, least: float) -> list[Change]:
    """Return how each measurement that both have changed, the most slowed down first."""
    before, after = _grouped(old, column), _grouped(new, column)
    found = []
    for key in before.keys() & after.keys():
        sides = (before[key], after[key])
        times = [[float(row[column]) for row in side] for side in sides]
        spreads = [max(side) / min(side) if len(side) > 1 else ALONE for side in times]
        ratio = statistics.median(times[1]) / statistics.median(times[0])
        recalls = [statistics.fmean(float(row.get("recall@100") or 0) for row in side) for side in sides]
        found.append(Change(key, ratio, max(least, *spreads), recalls[1] - recalls[0]))
    return sorted(found, key=lambda change: -change.ratio)


def _grouped(rows: Rows, column: str) -> dict[Key, Rows]:
    found: dict[Key, Rows] = {}
    for row in rows:
        if row.get(column):
            found.setdefault(settings(row), []).append(row)
    return found


def rows_of(source: str, results: str, folder: Path = RESULTS) -> Rows:
    """Return the rows of a CSV file, or those of a file of results that a commit recorded.

    Raises:
        ValueError: There is no such file, and no row of such a commit.
    """
    if source.endswith(".csv"):
        with Path(source).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    rows = read(results, folder)
    found = [row for row in rows if row["commit"].startswith(source) or source.startswith(row["commit"])]
    if not found:
        commits = ", ".join(dict.fromkeys(row["commit"] for row in rows)) or "none"
        raise ValueError(f"results/{results}.csv has no rows of commit {source}; it has those of {commits}")
    return found


def told(found: Iterable[Change]) -> list[str]:
    """Return a line for each change that is more than noise."""
    return [
        f"{change.verdict}: {change.ratio:.2f} times as long (noise up to {change.noise:.2f}), "
        f"recall {change.gained:+.4f}: {', '.join(f'{name} {value}' for name, value in change.what if value)}"
        for change in found
        if change.verdict != "as before"
    ]


def main(words: list[str]) -> int:
    """Compare; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a CSV file, or a commit")
    parser.add_argument("new", help="likewise")
    parser.add_argument("--results", default="searches", help="file of results in which the commits are looked for")
    parser.add_argument("--column", default="p50_us", help="what is compared: the less the better")
    parser.add_argument("--least", type=float, default=1.05, help="ratios up to this one are never told")
    arguments = parser.parse_args(words)
    old, new = (rows_of(source, arguments.results) for source in (arguments.old, arguments.new))
    found = changes(old, new, arguments.column, arguments.least)
    if not found:
        print(f"{arguments.old} and {arguments.new} have no measurement of {arguments.column} in common")
        return 2
    machines = [{row.get("machine", "") for row in rows} for rows in (old, new)]
    if machines[0] != machines[1]:
        print("of different machines: ", *machines)
    for line in told(found):
        print(line)
    bad = [change for change in found if change.verdict in {"slower", "finds less"}]
    print(f"{len(found)} compared, {len(bad)} slower or finding less")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
