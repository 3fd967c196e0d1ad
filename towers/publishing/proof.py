"""The proof, made before a bundle is pointed to, that towers as trained, saved, indexed and served answer the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from towers.data import TIME_UNKNOWN
from towers.features import Batch, FeatureTable
from towers.models import TowerArrays, TwoTower, load_towers, query_vectors, video_vectors
from towers.publishing.parity import Material, Sample, checked, difference, hits_of, inner_products, served_difference

_USERS, _VIDEOS, _K = 64, 256, 20


def draw_sample(towers: TwoTower, material: Material) -> Sample:
    """Return a sample: users without a history, with the longest, and at random between; always the same.

    Args:
        towers: What answers, as the offline evaluation has it.
        material: Made from these towers.
    """
    random = np.random.default_rng(0)
    by_length = np.argsort(material.positives.counts()[1:], kind="stable") + 1
    between = random.choice(by_length, min(_USERS, len(by_length)), replace=False)
    users = np.unique(np.concatenate([[1], by_length[:8], by_length[-8:], between]))
    others = random.choice(np.arange(1, len(material.vectors)), min(_VIDEOS, len(material.vectors) - 1), replace=False)
    requests, features = material.requests(users), material.users.take(users)
    videos = np.unique(np.concatenate([others, requests.history.ravel()]))
    queries, later = (
        query_vectors(towers, material.vectors, each, features) for each in (requests, material.requests_later(users))
    )
    return Sample(users, videos[videos > 0], queries, later, hits_of(material.index, queries, _K))


def prove(sample: Sample, towers: TwoTower, material: Material, videos: FeatureTable, folder: Path) -> dict[str, float]:
    """Compare the towers in training form, as evaluated, as reloaded and as served, and the index with inner products.

    Args:
        sample: Whom and what to compare for.
        towers: As trained.
        material: What was made from them.
        videos: Features of all video rows.
        folder: Where the bundle has the towers.

    Returns:
        The largest difference of each comparison.

    Raises:
        BundleError: A difference beyond the tolerance.
    """
    saved, rows = load_towers(folder), np.arange(len(videos))
    queries, vectors = training_form(sample, towers, material, videos)
    reread = video_vectors(saved, videos.take(rows))
    again = query_vectors(saved, reread, material.requests(sample.users), material.users.take(sample.users))
    served = replace(material, towers=TowerArrays.load(folder), vectors=reread, in_torch=saved)
    new = served.video_tower.vectors(videos.take(sample.videos))
    figures = {
        "training form of user vectors": difference(queries, sample.queries),
        "training form of video vectors": difference(vectors, material.vectors[sample.videos]),
        "reloaded user vectors": difference(again, sample.queries),
        "reloaded video vectors": difference(reread, material.vectors),
        "served user vectors": served_difference(sample, served),
        "served video vectors": difference(new, material.vectors[sample.videos]),
        "index scores": difference(sample.hits.scores, inner_products(sample.queries, material.vectors, sample.hits)),
    }
    return checked(figures, "at publishing")


def training_form(
    sample: Sample, towers: TwoTower, material: Material, videos: FeatureTable
) -> tuple[Float32[np.ndarray, "s *i d"], Float32[np.ndarray, "v d"]]:
    """Return user and video vectors by the forward pass of training: all positions of a window, the last one taken."""
    requests = material.requests(sample.users)
    history = requests.history
    counts = (history > 0).sum(axis=1)
    columns = np.searchsorted(sample.videos, history)
    before = np.concatenate([np.full((len(history), 1), -1), np.where(history > 0, columns, -1)], axis=1)
    places = np.broadcast_to(np.arange(before.shape[1]), before.shape)
    time_ms = np.concatenate([requests.history_ms, np.full((len(history), 1), TIME_UNKNOWN)], axis=1)
    nothing = torch.zeros(before.shape, dtype=torch.int64)
    batch = Batch(
        rows=torch.from_numpy(sample.videos),
        videos=videos.tensors(sample.videos),
        log_q=torch.zeros(len(sample.videos)),
        history=torch.from_numpy(before),
        state=torch.from_numpy(np.minimum(places, counts[:, None])),
        target=nothing,
        weight=torch.ones(before.shape),
        users=material.users.tensors(sample.users),
        time_ms=torch.from_numpy(time_ms),
        known=torch.zeros((len(history), len(sample.videos)), dtype=torch.bool),
        positions=before.size,
    )
    was_training = towers.training
    towers.eval()
    with torch.inference_mode():
        states, vectors = towers.queries(batch)
    towers.train(was_training)
    return states[:, -1].numpy(), vectors.numpy()
