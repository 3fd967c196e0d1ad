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
    users, videos = vectors(model, info.user2id, task), vectors(model, info.item2id, task)
    examples = int(settings["epochs"]) * len(task.videos)
    return Fitted(rank=by_product(task, users, videos), fit_seconds=spent, examples=examples)


def vectors(model: TwoTower, numbers: Mapping[int, int], task: Task) -> np.ndarray:
    """Return the vectors in the task's order; a thing that was not in train has zeros."""
    of_users = numbers is model.data_info.user2id
    own = np.asarray(model.user_embeds_np if of_users else model.item_embeds_np)
    placed = np.zeros((len(task.offsets) - 1 if of_users else task.catalogue, own.shape[1]), np.float32)
    placed[list(numbers)] = own[list(numbers.values())]
    return placed


if __name__ == "__main__":
    answer("LibRecommender", train)
