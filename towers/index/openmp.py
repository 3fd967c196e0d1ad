"""The one place that loads FAISS: after torch, with torch's number of threads.

Both bring an OpenMP of their own. Loaded in either order they work on Linux, but two
pools of all cores each would fight for them; on macOS the order decides whether the
process starts at all.
"""

from importlib import import_module
from typing import Any

import torch

faiss: Any = import_module("faiss")  # the stubs it ships deny half of its own arguments

faiss.omp_set_num_threads(torch.get_num_threads())

LIBRARY = {"faiss": str(faiss.__version__)}
"""Name and version of what searches, for manifests."""

__all__ = ["LIBRARY", "faiss"]
