"""The words that every room shares: geometry, hits and errors. Imports numpy alone."""

import fcntl
import resource
import sys
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any

import numpy as np
from jaxtyping import Float32, Int64

DAY_MS = 86_400_000
"""A day in milliseconds."""


class Geometry(Enum):
    """How two vectors are compared.

    A model declares the geometry that it was trained in, and whatever searches its
    vectors is built from that declaration, so the two cannot disagree.
    """

    cosine = "cosine"
    """Inner product of vectors of length 1; higher is better."""
    dot = "dot"
    """Inner product of vectors of any length; higher is better."""


@dataclass(frozen=True, slots=True)
class Hits:
    """The best candidates of each query, best first.

    Attributes:
        ids: What the index calls each candidate, [q, k]; an empty slot is -1.
        scores: Inner products, non-increasing along a row, [q, k]; an empty slot is -inf.
            Equal scores are ordered by the lower id.

    Example:
        >>> hits = Hits(np.array([[7, -1]]), np.array([[0.5, -np.inf]], np.float32))
        >>> hits.found.tolist()
        [1]
    """

    ids: Int64[np.ndarray, "q k"]
    scores: Float32[np.ndarray, "q k"]

    @property
    def found(self) -> Int64[np.ndarray, " q"]:
        """How many slots of each row hold a candidate, [q]."""
        return (self.ids >= 0).sum(axis=1)


class TowersError(Exception):
    """Something that the caller can mend; the message says what, the value and how."""


class ConfigError(TowersError, ValueError):
    """An option has a value that makes no sense."""


class DataError(TowersError, ValueError):
    """Input data, or a dataset folder, is not what it should be."""


class UnwritableError(DataError):
    """What is on disk cannot be written any more, until it is opened again."""


class RunError(TowersError):
    """A training run cannot be read, resumed or finished."""


class BundleError(TowersError):
    """A bundle is incomplete, altered, or of another schema version."""


class NotInstalledError(TowersError, ModuleNotFoundError):
    """Something that the package needs for what is asked, and not for all else, is not installed."""


class UnknownIdError(TowersError, KeyError):
    """An id that the vocabulary does not hold."""

    def __str__(self) -> str:
        """Return the message as written; KeyError would show it quoted."""
        return str(self.args[0]) if self.args else ""


def hold_alone(file: IO[Any], otherwise: TowersError) -> None:
    """Lock an open file for this process alone; the lock is the kernel's, so it ends with the file or its process.

    Raises:
        TowersError: Another process holds it; the file is closed, and this is the error that was given.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise otherwise from error


def peak_mb(whose: int = resource.RUSAGE_SELF) -> float:
    """Return the most memory that this process has held so far, in MB of 10^6 bytes.

    Args:
        whose: RUSAGE_CHILDREN of `resource` for the largest of the processes that it has started and seen the end of.

    Example:
        >>> peak_mb() > 1
        True
    """
    # The kernel counts in KiB on Linux and in bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(whose).ru_maxrss * unit / 1e6
