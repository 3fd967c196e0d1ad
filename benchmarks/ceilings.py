"""What the machine can do at most, and what a step asks of it: products and bytes."""

import time
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701 - its only name
from torch.utils._pytree import tree_leaves  # noqa: PLC2701 - its only name


def product_rate(precision: torch.dtype, size: int = 2048, device: str = "cpu") -> float:
    """Return the rate of one large product, in 10^9 operations a second."""
    left = torch.randn(size, size, device=device).to(precision)
    left @ left
    began = now(device)
    for _ in range(3):
        left @ left
    return 3 * 2 * size**3 / (now(device) - began) / 1e9


def copy_rate(megabytes: int = 256, device: str = "cpu") -> float:
    """Return how fast a block far larger than the caches is copied, bytes read and written, in 10^9 a second."""
    source = torch.rand(megabytes * 1_000_000 // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    began = now(device)
    for _ in range(3):
        target.copy_(source)
    return 3 * 2 * source.nbytes / (now(device) - began) / 1e9


def now(device: str) -> float:
    """Return the time, once a device has done what it was given to do."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


GATHERS = ("embedding", "index", "index_select", "gather")
"""Operations that read of a table only what they return."""
FREE = ("_unsafe_view", "_sparse_coo_tensor_with_dims_and_tensors", "empty", "new_empty_strided")
"""Operations that touch no memory, beside those that torch itself calls views."""


class ByteCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves it without types
    """Counts the bytes that operations read and write, each as if nothing stayed in a cache; views are free.

    Attributes:
        total: Bytes so far.

    Example:
        >>> with ByteCounter() as counter:
        ...     _ = torch.ones(10)[:5] + 1
        >>> counter.total
        80
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the same
        self.total = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - an operation of torch, whose type has no public name
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the operation returns
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        name = func.name().partition("::")[2].partition(".")[0]
        if not func.is_view and name not in FREE:
            written = sum(_bytes(result))
            read = written if name in GATHERS else sum(_bytes((args, kwargs)))
            self.total += read + written
        return result


def _bytes(tree: object) -> list[int]:
    tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return [part.nbytes for whole in tensors for part in ((whole._values(),) if whole.is_sparse else (whole,))]
