"""RecTools: SASRec with a softmax over the whole catalogue."""

import time
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.peers.exchange import DEPTH, Fitted, Task, answer


def train(task: Task, settings: Mapping[str, str]) -> Fitted:
    """Train on the last events of each user, all positions of a window at once."""
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    # Only the order within a user matters, and unknown times would have to be made up: count days instead.
    days = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(task.videos)), unit="s")
    table = {Columns.User: task.users, Columns.Item: task.videos, Columns.Datetime: days, Columns.Weight: 1.0}
    dataset = Dataset.construct(pd.DataFrame(table))
    window, epochs = int(settings["window"]), int(settings["epochs"])
    model = SASRecModel(
        n_factors=int(settings["factors"]),
        n_blocks=int(settings["blocks"]),
        n_heads=int(settings["heads"]),
        dropout_rate=float(settings["dropout"]),
        session_max_len=window,
        lr=float(settings["learning_rate"]),
        batch_size=int(settings["batch"]),
        epochs=epochs,
        loss="softmax",
        recommend_torch_device="cpu",
    )
    began = time.perf_counter()
    model.fit(dataset)
    spent = time.perf_counter() - began
    positions = np.minimum(np.diff(task.offsets) - 1, window).clip(0).sum()
    return Fitted(rank=lambda: ranked(model, dataset, task), fit_seconds=spent, examples=int(epochs * positions))


def ranked(model: SASRecModel, dataset: Dataset, task: Task) -> np.ndarray:
    """Rank with the package's own exact search, what a user watched left out; a user it cannot rank for has no list."""
    found = model.recommend(task.wanted, dataset, k=DEPTH, filter_viewed=True, on_unsupported_targets="ignore")
    rows = np.searchsorted(task.wanted, found[Columns.User].to_numpy())
    lists = np.full((len(task.wanted), DEPTH), -1)
    lists[rows, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return lists


if __name__ == "__main__":
    answer("rectools", train)
