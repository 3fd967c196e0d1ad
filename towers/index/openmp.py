"""The one place that loads FAISS: after torch, with torch's number of threads, and when it is first needed.

Both bring an OpenMP of their own. Loaded in either order they work on Linux, but two
pools of all cores each would fight for them; on macOS the order decides whether the
process starts at all.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch


@cache
def _loaded() -> Any:  # noqa: ANN401
    module = import_module("faiss")
    module.omp_set_num_threads(torch.get_num_threads())
    return module


class _Faiss:
    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(_loaded(), name)


faiss: Any = _Faiss()  # the stubs it ships deny half of its own arguments


def library() -> dict[str, str]:
    """Return the name and version of what searches, for manifests."""
    return {"faiss": str(faiss.__version__)}


__all__ = ["faiss", "library"]
