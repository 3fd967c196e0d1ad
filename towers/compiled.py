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
    # Numba asks only a function's own file whether what it keeps is stale; the name tells it about the folder's others.
    bare.__qualname__ += f"_{_sources(Path(bare.__code__.co_filename).parent)}"
    return numba.njit(nogil=True, cache=True, fastmath=set(freedoms), error_model="numpy")(bare)


@cache
def _sources(folder: Path) -> str:
    """Return a digest of a folder's code."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
