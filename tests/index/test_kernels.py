"""The kernels' own logic, by Triton's interpreter: wherever Triton is installed, with a GPU or without.

The interpreter takes bfloat16 for whole numbers in products, so the vectors stand in float32 twice.
"""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton comes with CUDA builds of torch")

PROGRAM = """
import sys
import torch
from towers.index import kernels, top_k

for q, n, k, d in ((3, 2600, 3, 16), (17, 3000, 5, 64)):
    torch.manual_seed(q)
    vectors, queries = torch.randint(-4, 5, (n, d)).float(), torch.randint(-4, 5, (q, d)).float()
    scratch = kernels.Scratch.of(q, n, k, torch.device("cpu"))
    kernels.search(queries, vectors, vectors, vectors.norm(dim=1).max(), scratch)
    wanted = top_k(queries, vectors, k)
    assert scratch.proven.all()
    assert scratch.where.tolist() == wanted.ids.tolist()
    assert scratch.best.tolist() == wanted.scores.tolist()
print("the same")
"""


def test_the_kernels_find_what_top_k_finds() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "the same\n", done.stderr
