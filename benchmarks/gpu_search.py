"""Measures exact search on a GPU, beside the time that reading the vectors or their product must take.

    python -m benchmarks.gpu_search

`launch_us` is the time of the kernels from queries on the card to lists on the card, `call_us` that of `search`, the
lists in the computer's memory; `torch_us` that of a float32 product and torch.topk. Each is a median. `over_bytes` is
`launch_us` over the time to read what is searched, half precision, at the measured bandwidth of a copy; `over_float32`
the same of the float32 vectors that were given; `over_floor` over the larger of the time to read and the time of the
product at the measured rate of a large one. `recall` is beside torch's float32 lists.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from benchmarks.ceilings import copy_rate, product_rate
from benchmarks.record import Circumstances, record
from towers.index.on_gpu import GpuSearcher

K, DIM = 100, 64


def median_us(work: Callable[[], object], times: int) -> float:
    """Return the median time of a piece of work on the card, alone on it, in microseconds."""
    spent = []
    for turn in range(times + 3):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if turn >= 3:
            spent.append(time.perf_counter() - began)
    return statistics.median(spent) * 1e6


def events_us(work: Callable[[], object], times: int) -> float:
    """Return the median time between two marks on the card around a piece of work, in microseconds."""
    marks = []
    for _ in range(times + 3):
        pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]  # type: ignore[no-untyped-call]
        pair[0].record()
        work()
        pair[1].record()
        marks.append(pair)
    torch.cuda.synchronize()
    return statistics.median(begin.elapsed_time(end) for begin, end in marks[3:]) * 1e3


def plain(queries: torch.Tensor, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return torch's own lists, a few queries at a time so that their scores fit."""
    at_once = max(1, 2**32 // len(vectors))
    parts = [torch.topk(part @ vectors.T, K) for part in torch.split(queries, at_once)]
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


def measure(n: int, batches: list[int], times: int) -> list[dict[str, object]]:
    """Return a row for each number of queries over n vectors."""
    torch.manual_seed(0)
    vectors = functional.normalize(torch.randn(n, DIM, device="cuda"), dim=1)
    searcher = GpuSearcher(vectors)
    bandwidth, rate = (
        statistics.median(copy_rate(4096, "cuda") for _ in range(5)) * 1e9,
        statistics.median(product_rate(torch.bfloat16, 8192, "cuda") for _ in range(5)) * 1e9,
    )
    rows: list[dict[str, object]] = []
    for q in batches:
        queries = functional.normalize(torch.randn(q, DIM, device="cuda"), dim=1)
        wanted = plain(queries, vectors)[1].cpu().numpy()
        found = searcher.search(queries, K)
        recall = np.mean([len(np.intersect1d(*pair)) / K for pair in zip(found.ids, wanted, strict=True)])
        proven = searcher.launch(queries, K)[2].float().mean()
        launch = events_us(lambda queries=queries: searcher.launch(queries, K), times)  # type: ignore[misc]
        read, product = n * DIM * 2 / bandwidth * 1e6, 2 * n * DIM * q / rate * 1e6
        row: dict[str, object] = {"vectors": n, "dim": DIM, "queries": q, "launch_us": f"{launch:.0f}"}
        row["call_us"] = f"{median_us(lambda queries=queries: searcher.search(queries, K), times):.0f}"  # type: ignore[misc]
        row["torch_us"] = f"{median_us(lambda queries=queries: plain(queries, vectors), 5):.0f}"  # type: ignore[misc]
        row["gb_per_s"] = f"{bandwidth / 1e9:.0f}"
        row["tflops"] = f"{rate / 1e12:.0f}"
        row["over_bytes"], row["over_float32"] = f"{launch / read:.2f}", f"{launch / read / 2:.2f}"
        row["over_floor"] = f"{launch / max(read, product):.2f}"
        row["recall"], row["proven"] = f"{recall:.6f}", f"{float(proven):.4f}"
        rows.append(row)
    return rows


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 1024])
    parser.add_argument("--times", type=int, default=50)
    arguments = parser.parse_args()
    for n in arguments.vectors:
        began = time.perf_counter()
        torch.cuda.reset_peak_memory_stats()
        rows = measure(n, arguments.queries, arguments.times)
        peak = torch.cuda.max_memory_allocated() / 1e6
        spent = time.perf_counter() - began
        command, card = f"python -m benchmarks.gpu_search --vectors {n}", torch.cuda.get_device_name()
        record("gpu_search", rows, Circumstances(command=command, seed=0, seconds=spent, peak_mb=peak, device=card))
        for row in rows:
            print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
