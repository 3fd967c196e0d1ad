"""The one place that loads FAISS: with the number of threads of all else, and when it is first needed.

torch and FAISS bring an OpenMP each. Loaded in either order they work on Linux, but two
pools of all cores each would fight for them; on macOS the order decides whether the
process starts at all, and torch has to come first.
"""

import sys
from functools import cache
from importlib import import_module
from typing import Any

from towers.index.threads import number
from towers.lazy import worded


@cache
def _loaded() -> Any:  # noqa: ANN401
    try:
        if sys.platform == "darwin":
            import_module("torch")
        module = import_module("faiss")
    except ModuleNotFoundError as error:
        raise worded("an index of FAISS's kinds", error) from error
    module.omp_set_num_threads(number())
    return module


class _Faiss:
    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(_loaded(), name)


faiss: Any = _Faiss()  # the stubs it ships deny half of its own arguments


def library() -> dict[str, str]:
    """Return the name and version of what searches, for manifests."""
    return {"faiss": str(faiss.__version__)}


__all__ = ["faiss", "library"]
