"""torch-rechub: YoutubeDNN, the mean of the history through two layers against sampled negatives."""

import os
import time
from collections.abc import Mapping

import numpy as np
import torch
from torch_rechub.basic.features import SequenceFeature, SparseFeature
from torch_rechub.models.matching import YoutubeDNN
from torch_rechub.trainers import MatchTrainer
from torch_rechub.utils.data import TorchDataset

from benchmarks.peers.exchange import Fitted, Task, answer


def train(task: Task, settings: Mapping[str, str]) -> Fitted:
    """Train on each event with the history before it; 0 pads, so that videos count from 1."""
    torch.manual_seed(0)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    window, dim, negatives = (int(settings[name]) for name in ("window", "dim", "negatives"))
    users, ends = task.users, np.arange(len(task.videos))
    later = ends > task.offsets[users]
    kept = np.random.default_rng(0).permutation(ends[later])[: int(settings["examples"])]
    same = {"vocab_size": task.catalogue + 1, "embed_dim": dim}
    history = SequenceFeature("history", pooling="mean", shared_with="video", padding_idx=0, **same)
    target = SparseFeature("video", padding_idx=0, **same)
    passed = SequenceFeature("passed", pooling="concat", shared_with="video", **same)
    hidden = {"dims": [2 * dim, dim], "activation": "relu"}
    model = YoutubeDNN([history], [target], [passed], hidden, temperature=float(settings["temperature"]))
    epochs = int(settings["epochs"])
    trainer = MatchTrainer(model, 2, optimizer_params={"lr": float(settings["learning_rate"])}, n_epoch=epochs)
    columns = {
        "history": task.windows(users[kept], kept, window),
        "video": task.videos[kept] + 1,
        "passed": np.random.default_rng(1).integers(1, task.catalogue + 1, (len(kept), negatives)),
    }
    events = TorchDataset(columns, np.zeros(len(kept), np.int64))
    loader = torch.utils.data.DataLoader(events, batch_size=int(settings["batch"]), shuffle=True)
    began = time.perf_counter()
    for _ in range(epochs):
        trainer.train_one_epoch(loader)
    spent = time.perf_counter() - began
    return Fitted(rank=lambda: ranked(model, task, window), fit_seconds=spent, examples=epochs * len(kept))


def ranked(model: YoutubeDNN, task: Task, window: int) -> np.ndarray:
    """Rank by the cosine of the two towers' outputs."""
    model.eval()
    with torch.no_grad():
        model.mode = "item"
        videos = model({"video": torch.arange(1, task.catalogue + 1)})

        def score(users: np.ndarray) -> np.ndarray:
            model.mode = "user"
            with torch.no_grad():
                history = torch.from_numpy(task.windows(users, task.offsets[users + 1], window))
                return (model({"history": history}) @ videos.T).numpy()

        return task.best(score)


if __name__ == "__main__":
    answer("torch-rechub", train)
