"""The whole way on the bundled log, told as the commands that a user would type."""

import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from towers.cli.verbs import VERBS
from towers.kinds import check_folders, check_kinds
from towers.types import ConfigError, RunError, peak_mb

_log = logging.getLogger(__name__)
ENOUGH_HISTORY = 10


@dataclass(kw_only=True)
class DemoConfig:
    """Where the demo writes, and how long it trains."""

    folder: str = "runs/demo"
    """Folder for the dataset, the run, the report and the bundle."""
    epochs: int | None = None
    """Passes over the log, at most; the recipe's own number unless given."""
    user: str | None = None
    """Whose candidates to print; a test user with some history unless given."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        check_folders(self, "folder")
        if self.epochs is not None and self.epochs < 1:
            raise ConfigError(f"epochs is {self.epochs}; expected at least 1")


@dataclass(frozen=True)
class Demonstration:
    """What the demo made.

    Attributes:
        folder: Where it all lies.
        seconds: How long it took.
        peak_mb: The largest memory of a process, in MB of 10^6 bytes.
    """

    folder: Path
    seconds: float
    peak_mb: float


def demo(config: DemoConfig) -> Demonstration:
    """Prepare, train, evaluate, publish and recommend, each by the command that is printed before it.

    Args:
        config: Where to write, and how long to train.

    Returns:
        Where it all lies and what it took.
    """
    from towers.cli.compose import composed

    began = time.perf_counter()
    folder = Path(config.folder)
    for place, (verb, options) in enumerate(_steps(config), start=1):
        if verb == "recommend":
            options = [*options, f"user={config.user or someone(folder / 'dataset')}"]
        _log.info("\n%d/5  towers %s %s", place, verb, " ".join(options))
        since = time.perf_counter()
        if verb == "train":
            apart(verb, options)
        else:
            VERBS[verb].run(composed(VERBS[verb], options))
        _log.info("     %.1f s", time.perf_counter() - since)
    return Demonstration(folder, time.perf_counter() - began, max(peak_mb(), peak_mb(resource.RUSAGE_CHILDREN)))


def apart(verb: str, options: list[str]) -> None:
    """Run a command in a process of its own.

    What training leaves in memory, mostly a gigabyte of oneDNN's machine code for products of every shape that it has
    met, would stand beside the tables of the evaluation.

    Raises:
        RunError: It did not end well.
    """
    sys.stdout.flush()  # what was printed so far stands before what that process prints
    paths = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, "-c", "import sys; from towers.cli import main; sys.exit(main())", verb, *options]
    with ending_together():
        status = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, check=False).returncode  # noqa: S603
    if status:
        raise RunError(f"towers {verb} ended with status {status}; what it said stands above")


@contextmanager
def ending_together() -> Iterator[None]:
    """Have SIGTERM end this process as an interrupt does, so that what it waits for does not go on without it."""

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's, which then decides
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _steps(config: DemoConfig) -> list[tuple[str, list[str]]]:
    folder = config.folder
    # Another number of epochs is another run: a run's folder goes on with the options it was begun with.
    run = f"run={folder}/run" + (f"-{config.epochs}" if config.epochs else "")
    # Half the width that training would choose: most of the quality in half the time and memory.
    limit = ["model.dim=64", *([f"optim.epochs={config.epochs}"] if config.epochs else [])]
    return [
        ("prepare", ["data=kuairand", f"dataset={folder}/dataset"]),
        ("train", ["experiment=kuairand", f"dataset={folder}/dataset", run, *limit]),
        ("evaluate", [run, f"report={folder}/report", f"lists={folder}/lists.parquet"]),
        ("publish", [run, f"bundle={folder}/bundle"]),
        ("recommend", [f"bundle={folder}/bundle", "k=10"]),
    ]


def someone(dataset: Path) -> str:
    """Return the id of the first user who watched enough before the test and something in it."""
    from towers.data import Dataset, Split

    opened = Dataset.open(dataset)
    before, after = opened.positives(Split.train, Split.valid).counts(), opened.positives(Split.test).counts()
    for least in (ENOUGH_HISTORY, 1, 0):
        fitting = ((before >= least) & (after > 0)).nonzero()[0]
        if len(fitting):
            return str(opened.users.ids(fitting[:1])[0])
    return str(opened.users.ids((before + after).argmax()[None])[0])
