"""Where exact searches run: the one place that chooses between processor and GPU."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.index import Ids
from towers.types import ConfigError, Hits

DEVICES = ("cpu", "cuda", "auto")
WIDEST = 256
"""Dimensions that the kernels know, at most."""
_LEAST = 16

Best = Callable[[Float32[np.ndarray, "q d"], int], Hits]
"""Queries and k → the best k columns of vectors that are all there, equal scores by the lower column."""


def on_gpu(device: str, vectors: Float32[np.ndarray, "n d"]) -> Best | None:
    """Return what searches vectors on a GPU; None where the processor shall.

    Args:
        device: cpu; cuda; or auto, which is cuda where there is a GPU and the vectors suit it.
        vectors: What to search in, [n, d]; they are copied to the GPU, in float32 and in bfloat16.

    Raises:
        ConfigError: cuda, where there is no GPU or vectors are too wide for it.
    """
    if device == "cpu":
        return None
    why_not = _why_not(vectors.shape[1])
    if device == "cuda" and why_not:
        raise ConfigError(f"index.device is cuda, but {why_not}; take cpu, or auto for a GPU where there is one")
    if why_not:
        return None
    import torch

    from towers.index.on_gpu import GpuSearcher  # Triton comes with CUDA builds of torch alone

    wide = widened(vectors)
    searcher = GpuSearcher(torch.from_numpy(wide).cuda())
    return lambda queries, k: searcher.search(torch.from_numpy(widened(queries)), k)


def _why_not(dim: int) -> str:
    """Return why no GPU here can search vectors so wide; nothing where one can."""
    try:
        import torch
    except ModuleNotFoundError:
        return "torch is not installed here"
    if not torch.cuda.is_available():
        return "torch sees no CUDA GPU here"
    return f"the vectors have {dim} dimensions, more than {WIDEST}" if dim > WIDEST else ""


def widened(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n e"]:
    """Return vectors with zeros behind them, up to a width that the kernels know: products stay what they are.

    Example:
        >>> widened(np.ones((2, 65), np.float32)).shape
        (2, 128)
    """
    dim = vectors.shape[1]
    width = max(_LEAST, 1 << (dim - 1).bit_length())
    return np.pad(vectors, ((0, 0), (0, width - dim)))


def without_excluded(
    best: Best, ids: Int64[np.ndarray, " n"], queries: Float32[np.ndarray, "q d"], k: int, exclude: Ids | None
) -> Hits:
    """Return the best k by id that no query is denied: so many more are looked for as the longest list denies.

    Args:
        best: What searches all.
        ids: Of its columns, [n].
        queries: What to search for, [q, d].
        k: How many hits each gets; slots beyond what exists hold -1 and -inf.
        exclude: For each query the ids that it must not be given; None for none.
    """
    exclude = [ids[:0]] * len(queries) if exclude is None else exclude
    longest = max(map(len, exclude), default=0)
    hits = best(queries, min(k + longest, len(ids)))
    found, scores = np.append(ids, -1)[hits.ids], hits.scores
    denied = np.zeros(found.shape, bool)
    for row, gone in enumerate(exclude if longest else ()):
        denied[row] = np.isin(found[row], gone)
    order = np.argsort(denied, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(np.where(denied, -1, found), order, axis=1)
    scores = np.take_along_axis(np.where(denied, np.float32(-np.inf), scores), order, axis=1)
    missing = ((0, 0), (0, k - found.shape[1]))
    return Hits(np.pad(found, missing, constant_values=-1), np.pad(scores, missing, constant_values=-np.inf))
