"""The one place that divides searches among threads: plain ones, beside each other in machine code."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

AT_ONCE = 64
"""Queries that one thread takes at a time."""


def share(work: Callable[[slice], None], count: int) -> None:
    """Call work with slices that cover the count, on as many threads as torch uses; an error stops what is left."""
    parts = [slice(start, min(start + AT_ONCE, count)) for start in range(0, count, AT_ONCE)]
    threads = torch.get_num_threads() if count > 1 else 1
    if threads > 1 and len(parts) < threads:
        each = -(-count // threads)
        parts = [slice(start, min(start + each, count)) for start in range(0, count, each)]
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    for _ in _pool(threads).map(work, parts):
        pass


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="towers-index")


os.register_at_fork(after_in_child=_pool.cache_clear)
