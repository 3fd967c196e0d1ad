"""The one place that divides searches among threads: plain ones, beside each other in machine code."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

AT_ONCE = 64
"""Queries that one thread takes at a time."""


def number() -> int:
    """Return on how many threads to work: as many as torch, where it is loaded, else as there are cores.

    OMP_NUM_THREADS limits both.
    """
    told = getattr(sys.modules.get("torch"), "get_num_threads", None)  # not there yet while another thread loads it
    if told is not None:
        return int(told())
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(int(limit), cores) if limit.isdecimal() and int(limit) else cores


def share(work: Callable[[slice], None], count: int, at_once: int = AT_ONCE) -> None:
    """Call work with slices that cover the count, on :func:`number` threads; an error stops what is left."""
    parts = [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]
    threads = number() if count > 1 else 1
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
