"""The folder where a service keeps its indexes: one process at a time."""

import shutil
from pathlib import Path
from typing import IO

from towers.types import ConfigError, hold_alone

INDEXES, LOCK = "indexes", "lock"


def locked(state: Path) -> IO[bytes]:
    """Return the lock of a state's folder, emptied of what a killed process left there; it is held until closed.

    Raises:
        ConfigError: Another process holds it, or it holds indexes that no service made.
    """
    if (state / INDEXES).exists() and not (state / LOCK).exists():
        raise ConfigError(f"{state / INDEXES} is of no service, which would remove it; give state= a new folder")
    state.mkdir(parents=True, exist_ok=True)
    lock = (state / LOCK).open("ab")
    used = f"{state} is used by another process that serves; give each a folder of its own, state=FOLDER, and a port"
    hold_alone(lock, ConfigError(used))
    shutil.rmtree(state / INDEXES, ignore_errors=True)
    (state / INDEXES).mkdir()
    return lock
