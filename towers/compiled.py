"""How a function becomes machine code."""

import ctypes
import hashlib
import inspect
import logging
import pickle
import platform
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, cast

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

_log = logging.getLogger(__name__)
REORDERED = frozenset({"reassoc", "contract", "nsz"})
"""Sums of floats may be taken in any order, always the same one; NaN and infinity keep their meaning."""
_STALE_S = 7 * 86_400
"""How old machine code is that is removed once the package is another: some other process may still use it."""
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
        _warn_once(str(Path(__file__).parent), "neither that nor the user's cache can be written")
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
        kept = self._dump(data)
        try:
            self._save_data(self._name(key), (key, hashlib.sha256(kept).digest(), kept))
        except OSError as error:  # no room, say
            _warn_once(self._cache_path, error.strerror)
        _drop_stale(self._cache_path)

    def load(self, key: object) -> object:
        try:
            name, digest, kept = self._load_data(self._name(key))
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):  # not there, or cut short where power failed
            return None
        # Code in which a block was not written either would end the process.
        return pickle.loads(kept) if name == key and hashlib.sha256(kept).digest() == digest else None  # noqa: S301 - ours

    def _name(self, key: object) -> str:
        told = repr((key, self._version))  # the package's files are told by the function's name
        return cast("str", self._data_name(int.from_bytes(hashlib.sha256(told.encode()).digest()[:8])))


@cache
def _drop_stale(folder: str) -> None:
    """Remove what earlier versions of the package's files left in a folder of machine code."""
    oldest = time.time() - _STALE_S
    for path in Path(folder).glob("*.nb[ci]"):
        try:
            if f"_{_sources()}-" not in path.name and path.stat().st_mtime < oldest:
                path.unlink()
        except OSError as error:  # another process was first, or it is another user's
            _log.debug("%s was not removed: %s", path, error)


@cache
def _warn_once(folder: str, why: str) -> None:
    _log.warning(
        "Machine code cannot be kept in %s (%s): each process makes it anew, which takes it half a minute; make room "
        "there, or set NUMBA_CACHE_DIR to a folder that can be written",
        folder,
        why,
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
