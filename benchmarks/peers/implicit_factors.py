"""implicit: alternating least squares, and matrix factorisation for BPR."""

import os
import time
from collections.abc import Mapping

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy.sparse import csr_matrix

from benchmarks.peers.exchange import Fitted, Task, answer, by_product


def train(task: Task, settings: Mapping[str, str]) -> Fitted:
    """Factorise the matrix of users and videos with kind=als or kind=bpr."""
    shape = (len(task.offsets) - 1, task.catalogue)
    seen = csr_matrix((np.ones(len(task.videos), np.float32), task.videos, task.offsets), shape)
    iterations = int(settings["iterations"])
    same = {
        "factors": int(settings["factors"]),
        "regularization": float(settings["regularization"]),
        "iterations": iterations,
        "num_threads": int(os.environ.get("OMP_NUM_THREADS", "0")),
        "random_state": 0,
    }
    if settings["kind"] == "als":
        model = AlternatingLeastSquares(alpha=float(settings["alpha"]), **same)
    else:
        model = BayesianPersonalizedRanking(learning_rate=float(settings["learning_rate"]), **same)
    began = time.perf_counter()
    model.fit(seen, show_progress=False)
    spent = time.perf_counter() - began
    rank = by_product(task, np.asarray(model.user_factors), np.asarray(model.item_factors))
    return Fitted(rank=rank, fit_seconds=spent, examples=iterations * len(task.videos))


if __name__ == "__main__":
    answer("implicit", train)
