"""RecBole: matrix factorisation for BPR."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer
from recbole.utils import init_seed

from benchmarks.peers.exchange import Fitted, Task, answer, by_product


def train(task: Task, settings: Mapping[str, str]) -> Fitted:
    """Train on pairs of user and video, a negative for each, drawn uniformly."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the package writes logs and checkpoints wherever it is started
        config = Config(model="BPR", dataset="events", config_dict=configured(task, settings, Path(folder)))
        init_seed(0, reproducibility=False)
        dataset = create_dataset(config)
        events, _, _ = data_preparation(config, dataset)
        model = BPR(config, events.dataset)
        began = time.perf_counter()
        Trainer(config, model).fit(events, None, verbose=False, saved=False)
        spent = time.perf_counter() - began
        os.chdir(home)
    examples = int(settings["epochs"]) * len(task.videos)
    return Fitted(rank=by_product(task, *placed(model, dataset, task)), fit_seconds=spent, examples=examples)


def configured(task: Task, settings: Mapping[str, str], folder: Path) -> dict[str, object]:
    """Write the events as the package reads them and return its configuration."""
    place = folder / "events"
    place.mkdir()
    lines = [f"{user}\t{video}\n" for user, video in zip(task.users.tolist(), task.videos.tolist(), strict=True)]
    # A split without valid and test is not foreseen: both are the first event, and nobody looks at them.
    for part, kept in (("train", lines), ("valid", lines[:1]), ("test", lines[:1])):
        text = "user_id:token\titem_id:token\n" + "".join(kept)
        (place / f"events.{part}.inter").write_text(text, encoding="utf-8")
    return {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "embedding_size": int(settings["dim"]),
        "learning_rate": float(settings["learning_rate"]),
        "train_batch_size": int(settings["batch"]),
        "weight_decay": float(settings["weight_decay"]),
        "epochs": int(settings["epochs"]),
        "use_gpu": False,
        "seed": 0,
        "state": "ERROR",
    }


def placed(model: BPR, dataset: object, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of users and videos in the task's order; what was not in train has zeros."""
    tables = []
    sizes = {"user_id": len(task.offsets) - 1, "item_id": task.catalogue}
    for field, table in (("user_id", model.user_embedding), ("item_id", model.item_embedding)):
        names = np.asarray(dataset.field2id_token[field][1:], np.int64)  # type: ignore[attr-defined]
        weights = table.weight.detach().numpy()
        vectors = np.zeros((sizes[field], weights.shape[1]), np.float32)
        vectors[names] = weights[1:]
        tables.append(vectors)
    return tables[0], tables[1]


if __name__ == "__main__":
    answer("recbole", train)
