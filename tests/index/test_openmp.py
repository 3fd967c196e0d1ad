"""FAISS and torch in one process, whichever comes first."""

import subprocess
import sys

import pytest

SEARCH = """
import numpy as np
from towers.index import Ivf
from towers.types import Geometry
vectors = np.random.default_rng(0).standard_normal((3000, 16)).astype(np.float32)
hits = Ivf(nlist=8, nprobe=8).build(vectors, np.arange(3000), Geometry.dot).search(vectors[:300], 5)
assert torch.get_num_threads() == faiss.omp_get_max_threads()
assert float((torch.ones(300, 300) @ torch.ones(300, 300)).sum()) == 300**3
print(hits.found.sum())
"""


@pytest.mark.parametrize("order", ["import torch, faiss", "import faiss, torch"])
def test_both_import_orders_work_and_share_a_number_of_threads(order: str) -> None:
    done = subprocess.run([sys.executable, "-c", order + SEARCH], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "1500\n"), done.stderr
