"""Measures what it takes until anything begins: imports, and the first words of the command line.

    python -m benchmarks.startup

Rows go to benchmarks/results/startup.csv: the median of the runs, the interpreter's own start included.
"""

import argparse
import statistics
import sys

from benchmarks.quality import TOWERS, Cost, spend
from benchmarks.record import Circumstances, record

COMMANDS = {
    "python alone": [sys.executable, "-c", "pass"],
    "import towers": [sys.executable, "-c", "import towers"],
    "import torch": [sys.executable, "-c", "import torch"],
    "towers.train": [sys.executable, "-c", "from towers import train"],
    "import towers.serving": [sys.executable, "-c", "import towers.serving"],
    "towers train --help": [TOWERS, "train", "--help"],
}


def median(command: list[str], runs: int) -> Cost:
    """Run a command once to warm the disk's cache, then as often as asked; return its median seconds, largest MB."""
    spend(command)
    costs = [spend(command) for _ in range(runs)]
    return Cost(statistics.median(cost.seconds for cost in costs), max(cost.peak_mb for cost in costs))


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="how many, beside one to warm up")
    runs = parser.parse_args().runs
    for what, command in COMMANDS.items():
        cost = median(command, runs)
        how = Circumstances(command="python -m benchmarks.startup", seed=0, seconds=cost.seconds, peak_mb=cost.peak_mb)
        record("startup", [{"what": what, "median_s": f"{cost.seconds:.2f}", "runs": runs}], how)
        print(f"{what}: {cost.seconds:.2f} s, {cost.peak_mb:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
