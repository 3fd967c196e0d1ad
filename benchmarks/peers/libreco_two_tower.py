"""LibRecommender: TwoTower, a softmax over the batch with logQ."""

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
from libreco.algorithms import TwoTower
from libreco.data import DatasetPure

from benchmarks.peers.exchange import Fitted, Task, answer, by_product


def train(task: Task, settings: Mapping[str, str]) -> Fitted:
    """Train on pairs of user and video; the package's TwoTower has no history."""
    pairs = pd.DataFrame({"user": task.users, "item": task.videos, "label": 1})
    events, info = DatasetPure.build_trainset(pairs, shuffle=False, seed=0)
    model = TwoTower(
        "ranking",
        info,
        loss_type="softmax",
        embed_size=int(settings["dim"]),
        norm_embed=settings["cosine"] == "true",
        n_epochs=int(settings["epochs"]),
        lr=float(settings["learning_rate"]),
        batch_size=int(settings["batch"]),
        use_bn=settings["batch_norm"] == "true",
        dropout_rate=float(settings["dropout"]) or None,
        hidden_units=[int(units) for units in settings["hidden"].split(",")],
        temperature=float(settings["temperature"]),
        remove_accidental_hits=True,
        seed=0,
    )
    began = time.perf_counter()
    model.fit(events, neg_sampling=True, verbose=0, shuffle=True)
    spent = time.perf_counter() - began
    users = placed(model.user_embeds_np, info.user2id, len(task.offsets) - 1)
    videos = placed(model.item_embeds_np, info.item2id, task.catalogue)
    examples = int(settings["epochs"]) * len(task.videos)
    return Fitted(rank=by_product(task, users, videos), fit_seconds=spent, examples=examples)


def placed(own: np.ndarray, numbers: Mapping[int, int], count: int) -> np.ndarray:
    """Return the vectors in the task's order, [count, d]; what was not in train has zeros."""
    vectors = np.zeros((count, own.shape[1]), np.float32)
    vectors[list(numbers)] = own[list(numbers.values())]
    return vectors


if __name__ == "__main__":
    answer("LibRecommender", train)
