"""Work is divided without gaps, errors arrive, and many threads searching at once agree."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from towers.index import Exact
from towers.index.threads import share
from towers.types import Geometry


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 200])
def test_every_row_is_worked_on_once(threads: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    seen, workers = np.zeros(count, np.int64), set()

    def work(rows: slice) -> None:
        seen[rows] += 1
        workers.add(threading.current_thread().name)

    share(work, count)
    assert (seen == 1).all()
    assert all(name.startswith("towers-index") for name in workers) or threads == 1 or count <= 1


def test_an_error_in_a_thread_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def work(rows: slice) -> None:
        raise ValueError(f"from {rows.start}")

    with pytest.raises(ValueError, match="from 0"):
        share(work, 100)


def test_threads_that_search_at_once_find_what_one_finds() -> None:
    draw = np.random.default_rng(0)
    vectors, queries = (draw.standard_normal((n, 8)).astype(np.float32) for n in (3000, 60))
    searcher = Exact().build(vectors, np.arange(3000), Geometry.dot)
    whole = searcher.search(queries, 20).ids
    with ThreadPoolExecutor(4) as pool:
        single = list(pool.map(lambda row: searcher.search(queries[row : row + 1], 20).ids[0], range(60)))
    np.testing.assert_array_equal(whole, single)
