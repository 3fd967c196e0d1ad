"""What a GPU is asked for, on a machine that has none: its part is taken by `top_k`, which promises the same."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.contracts.test_indexes import check_same, whole_numbers
from towers.index import Exact, load_index, top_k
from towers.index.device import on_gpu, widened, without_excluded
from towers.index.exact import ExactSearcher
from towers.types import ConfigError, Geometry, Hits

N = 200
IDS = np.arange(N) * 3 + 2**60
VECTORS, QUERIES = whole_numbers(0, N), whole_numbers(1, 5)


def best(queries: np.ndarray, k: int) -> Hits:
    return top_k(queries, VECTORS, k)


@pytest.mark.parametrize("k", [1, 20, N, N + 9])
@pytest.mark.parametrize("sizes", [(0, 0, 0, 0, 0), (0, 5, 40, 1, 0), (N, 0, 3, 150, 9)])
def test_what_is_excluded_is_made_up_for(k: int, sizes: tuple[int, ...]) -> None:
    random = np.random.default_rng(k)
    exclude = [random.permutation(IDS)[:size] for size in sizes]
    exclude[1] = np.append(exclude[1], [7, 7])  # what the index lacks
    expected = Exact().build(VECTORS, IDS, Geometry.dot).search(QUERIES, k, exclude)
    check_same(without_excluded(best, IDS, QUERIES, k, exclude), expected)
    expected = Exact().build(VECTORS, IDS, Geometry.dot).search(QUERIES, k)
    check_same(without_excluded(best, IDS, QUERIES, k, None), expected)


def test_an_allow_list_and_what_was_removed_are_the_processors() -> None:
    searcher = Exact().build(VECTORS, IDS, Geometry.dot)
    assert isinstance(searcher, ExactSearcher)
    asked: list[int] = []

    def counted(queries: np.ndarray, k: int) -> Hits:
        asked.append(k)
        return best(queries, k)

    expected = searcher.search(QUERIES, 9), searcher.search(QUERIES, 9, None, IDS[:30])
    searcher._best = counted
    check_same(searcher.search(QUERIES, 9), expected[0])
    assert asked == [9]
    check_same(searcher.search(QUERIES, 9, None, IDS[:30]), expected[1])
    left = searcher.without(IDS[:30])
    assert np.isin(left.search(QUERIES, N).ids, IDS[:30]).sum() == 0
    assert asked == [9]


def test_zeros_behind_vectors_change_no_product() -> None:
    wide = widened(VECTORS)
    assert wide.shape == (N, 16)
    check_same(top_k(widened(QUERIES), wide, 9), best(QUERIES, 9))
    assert [widened(np.ones((1, d), np.float32)).shape[1] for d in (1, 16, 17, 64, 65, 256)] == [
        16,
        16,
        32,
        64,
        128,
        256,
    ]


def test_a_device_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"index\.device is 'gpu'; expected cpu, cuda or auto"):
        Exact(device="gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_cuda_is_refused_and_auto_is_the_processor(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"index\.device is cuda, but torch sees no CUDA GPU here; take cpu, or auto for a GPU"
    ):
        Exact(device="cuda").build(VECTORS, IDS, Geometry.dot)
    assert on_gpu("auto", VECTORS) is None
    searcher = Exact(device="auto").build(VECTORS, IDS, Geometry.dot)
    check_same(searcher.search(QUERIES, 9), Exact().build(VECTORS, IDS, Geometry.dot).search(QUERIES, 9))
    searcher.save(tmp_path)
    header = json.loads((tmp_path / "index.json").read_text())
    assert header["device"] == "auto"
    check_same(load_index(tmp_path).search(QUERIES, 9), searcher.search(QUERIES, 9))
    (tmp_path / "index.json").write_text(json.dumps(header | {"device": "cuda"}))
    with pytest.raises(ConfigError, match="no CUDA GPU here"):
        load_index(tmp_path)
