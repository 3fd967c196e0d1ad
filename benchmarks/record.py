"""Keeps measurements: one row of a CSV file each, with everything needed to judge or repeat it."""

import csv
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
CHECKOUT = Path(__file__).parent.parent
COLUMNS = (
    "date",
    "commit",
    "dirty",
    "machine",
    "cores",
    "memory_gb",
    "device",
    "threads",
    "python",
    "torch",
    "faiss",
    "seed",
    "command",
    "seconds",
    "peak_mb",
)
"""What every row of every file begins with."""


def usable_threads() -> int:
    """Return how many threads a command started from here may use: its cores, or fewer if OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0))
    return min(cores, int(os.environ.get("OMP_NUM_THREADS", cores)))


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """How a value was measured, as far as the machine cannot tell by itself.

    Attributes:
        command: What to type to measure it again.
        seed: The seed it was measured with.
        seconds: Wall time of the measured part.
        peak_mb: Largest resident memory of the process that did it, in MB of 10^6 bytes.
        device: `cpu`, or the accelerator's name.
        threads: How many threads the measured part could use.
    """

    command: str
    seed: int
    seconds: float
    peak_mb: float
    device: str = "cpu"
    threads: int = field(default_factory=usable_threads)


def record(name: str, rows: Sequence[Mapping[str, object]], how: Circumstances, folder: Path = RESULTS) -> Path:
    """Append rows to `<folder>/<name>.csv`; the first rows decide the file's columns.

    Args:
        name: Name of the file, without its ending.
        rows: The measured values by column; all of the same columns.
        how: What all these rows share.
        folder: Where the file lives.

    Returns:
        The file.

    Raises:
        ValueError: The columns differ from those that the file has.
    """
    path = folder / f"{name}.csv"
    shared = surroundings() | {
        "device": how.device,
        "threads": how.threads,
        "seed": how.seed,
        "command": how.command,
        "seconds": f"{how.seconds:.1f}",
        "peak_mb": f"{how.peak_mb:.0f}",
    }
    complete = [{column: shared[column] for column in COLUMNS} | dict(row) for row in rows]
    header = _header(path) or list(complete[0])
    for row in complete:
        if list(row) != header:
            raise ValueError(
                f"{path.name} has the columns {', '.join(header)}; this row has {', '.join(row)}. "
                f"Record it under another name, or add the missing column to the rows that are there"
            )
    folder.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header, lineterminator="\n")
        if fresh:
            writer.writeheader()
        writer.writerows(complete)
    return path


def read(name: str, folder: Path = RESULTS) -> list[dict[str, str]]:
    """Read all rows of `<folder>/<name>.csv`, oldest first; none when there is no such file."""
    path = folder / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def surroundings() -> dict[str, object]:
    """Return the columns that the machine and the checkout can fill by themselves; new rows change no code."""
    kept = RESULTS.relative_to(CHECKOUT)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _git("rev-parse", "--short=10", "HEAD"),
        "dirty": "yes" if _git("status", "--porcelain", "--untracked-files=no", "--", ".", f":!{kept}") else "no",
        "machine": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "torch": version("torch"),
        "faiss": version("faiss-cpu"),
    }


def _header(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), [])


def _git(*arguments: str) -> str:
    result = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if sys.platform == "linux" and information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
