"""Search on a GPU finds what the CPU finds."""

import importlib
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from towers.index import top_k

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA GPU", allow_module_level=True)

# Triton reads a kernel's own source and names; what checks shapes and types in tests would stand between.
checks = [finder for finder in sys.meta_path if type(finder).__module__.startswith("jaxtyping")]
sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in checks]
GpuSearcher = importlib.import_module("towers.index.on_gpu").GpuSearcher
sys.meta_path[:0] = checks


def check(queries: torch.Tensor, vectors: torch.Tensor, k: int) -> None:
    wanted = top_k(queries, vectors, k)
    found = GpuSearcher(vectors.cuda()).search(queries, k)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=0, atol=2e-6 * float(np.abs(wanted.scores).max()))
    apart = found.ids != wanted.ids
    exact = (queries.double() @ vectors.double().T).numpy()
    rows = np.nonzero(apart)[0]
    mine, theirs = exact[rows, found.ids[apart]], exact[rows, wanted.ids[apart]]
    assert (np.abs(mine - theirs) < 1e-5).all()  # they changed places within rounding
    assert apart.mean() < 0.01
    assert all(len(set(row)) == k for row in found.ids.tolist())


@pytest.mark.parametrize("q", [1, 5, 64, 200])
@pytest.mark.parametrize("n", [1_000, 70_000, 300_001])
@pytest.mark.parametrize("dim", [64, 128])
def test_random_vectors(q: int, n: int, dim: int) -> None:
    torch.manual_seed(q + n)
    vectors = functional.normalize(torch.randn(n, dim), dim=1)
    check(functional.normalize(torch.randn(q, dim), dim=1), vectors, 100)


def test_vectors_of_uneven_length_and_scores_below_zero() -> None:
    torch.manual_seed(0)
    vectors = torch.randn(100_000, 64) * torch.rand(100_000, 1) * 3
    check(torch.randn(7, 64), vectors, 100)
    check(torch.ones(2, 64), -vectors.abs() - 0.1, 100)


def test_equal_scores_come_by_the_lower_column() -> None:
    torch.manual_seed(0)
    vectors = functional.normalize(torch.randn(80_000, 64), dim=1)
    vectors[500:620] = vectors[79_000]
    found = GpuSearcher(vectors.cuda()).search(vectors[79_000:79_001], 50)
    assert found.ids[0].tolist() == list(range(500, 550))
    assert GpuSearcher(vectors.cuda()).launch(vectors[79_000:79_001], 50)[2].tolist() == [1]
    vectors[1000:9000] = vectors[79_000]
    found = GpuSearcher(vectors.cuda()).search(vectors[79_000:79_001], 100)
    assert found.ids[0].tolist() == list(range(500, 600))
