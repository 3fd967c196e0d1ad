"""How a function becomes machine code."""

import ctypes
import hashlib
import inspect
import logging
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_log = logging.getLogger(__name__)
REORDERED = frozenset({"reassoc", "contract", "nsz"})
"""Sums of floats may be taken in any order, always the same one; NaN and infinity keep their meaning."""
_ARCH_PRCTL, _ASK_FOR, _TILES = 158, 0x1023, 18


def compiled(function: Callable[..., Any], freedoms: frozenset[str] = REORDERED) -> Any:  # noqa: ANN401
    """Return a function as machine code that other threads run beside, kept on disk for the next process.

    It is kept in the folder that NUMBA_CACHE_DIR names, or else beside the source, or where that cannot be written, in
    the user's cache, by Numba's own choice.

    Args:
        function: What numba understands; nothing in it checks a place, so those who call it must have.
        freedoms: What LLVM may take for granted of floats.
    """
    bare = inspect.unwrap(function)
    # Numba asks only a function's own file whether what it keeps is stale; the name tells it about all others.
    bare.__qualname__ += f"_{_sources()}"
    dispatcher = numba.njit(nogil=True, fastmath=set(freedoms), error_model="numpy")(bare)
    try:
        dispatcher._cache = _Kept(bare)  # what cache=True sets; there is no public way to another one
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        _warn_once()
    return dispatcher


class _Kept(FunctionCache):  # type: ignore[misc]
    """Where a function's machine code is kept."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _FilePerSignature(self.cache_path, self._impl.filename_base, stamp)


class _FilePerSignature(IndexDataCacheFile):  # type: ignore[misc]
    """A file for each signature, named by it.

    Numba numbers the files, in an index that it writes before them: of two processes that make machine code of one
    function at once, for arguments of other types, one can be given the other's number. A third then runs code for
    arguments that it does not have.
    """

    def save(self, key: object, data: object) -> None:
        self._save_data(self._name(key), (key, data))

    def load(self, key: object) -> object:
        try:
            kept, data = self._load_data(self._name(key))
        except (OSError, EOFError, UnpicklingError):  # not there, or cut short where power failed
            return None
        return data if kept == key else None

    def _name(self, key: object) -> str:
        told = repr((key, self._source_stamp, self._version))
        return cast("str", self._data_name(int.from_bytes(hashlib.sha256(told.encode()).digest()[:8])))


@cache
def _warn_once() -> None:
    _log.warning(
        "Machine code is made anew by this process, which takes it half a minute: %s cannot be written, nor can the "
        "user's cache; set NUMBA_CACHE_DIR to a folder that can",
        Path(__file__).parent,
    )


def entry(function: Any, *like: Any) -> Any:  # noqa: ANN401
    """Return machine code for arguments like these, called without asking each time of which types they are.

    With named tuples of arrays a call takes half the time. Whoever calls it vouches that the arguments are of the very
    types of `like`, and contiguous where those are.
    """
    return function.compile(tuple(numba.typeof(each) for each in like))


@cache
def _sources() -> str:
    """Return a digest of the package's code: machine code takes in what it calls, from whatever folder.

    Code that uses tiles ends a process that may not.
    """
    digest = hashlib.sha256(bytes([may_use_tiles()]))
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def may_use_tiles() -> bool:
    """Return whether Linux lets this process use a processor's matrix tiles, which it must be asked for once.

    Source:
        https://docs.kernel.org/arch/x86/xstate.html
    """
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return False
    return ctypes.CDLL(None).syscall(*(ctypes.c_long(each) for each in (_ARCH_PRCTL, _ASK_FOR, _TILES))) == 0
