"""How a function becomes machine code."""

import hashlib
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

REORDERED = frozenset({"reassoc", "contract", "nsz"})
"""Sums of floats may be taken in any order, always the same one; NaN and infinity keep their meaning."""


def compiled(function: Callable[..., Any], freedoms: frozenset[str] = REORDERED) -> Any:  # noqa: ANN401
    """Return a function as machine code that other threads run beside, kept on disk for the next process.

    Args:
        function: What numba understands; nothing in it checks a place, so those who call it must have.
        freedoms: What LLVM may take for granted of floats.
    """
    bare = inspect.unwrap(function)
    # Numba asks only a function's own file whether what it keeps is stale; the name tells it about all others.
    bare.__qualname__ += f"_{_sources()}"
    return numba.njit(nogil=True, cache=True, fastmath=set(freedoms), error_model="numpy")(bare)


def entry(function: Any, *like: Any) -> Any:  # noqa: ANN401
    """Return machine code for arguments like these, called without asking each time of which types they are.

    With named tuples of arrays a call takes half the time. Whoever calls it vouches that the arguments are of the very
    types of `like`, and contiguous where those are.
    """
    return function.compile(tuple(numba.typeof(each) for each in like))


@cache
def _sources() -> str:
    """Return a digest of the package's code: machine code takes in what it calls, from whatever folder."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
