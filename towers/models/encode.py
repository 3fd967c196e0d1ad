"""Towers as functions from arrays to arrays, a block at a time: how every other room uses them."""

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from towers.data import TIME_UNKNOWN
from towers.features import FeatureTable, Requests
from towers.models.two_tower import TwoTower
from towers.types import TowersError


def video_vectors(towers: TwoTower, features: FeatureTable, block: int = 65_536) -> Float32[np.ndarray, "rows d"]:
    """Return the vector of every video row, [rows, d]; row 0 pads and is all zero.

    Args:
        towers: Trained towers.
        features: Of every row of the dataset, [rows].
        block: Videos at once; bounds the memory.

    Raises:
        TowersError: A vector is not finite.
    """
    out = np.zeros((len(features), towers.dim), np.float32)
    for start in range(1, len(features), block):
        rows = np.arange(start, min(start + block, len(features)))
        with _inference(towers) as device:
            vectors = towers.videos(torch.from_numpy(rows).to(device), features.tensors(rows).to(device))
        out[rows] = vectors.cpu().numpy()
    return _finite(out, "video")


def query_vectors(
    towers: TwoTower,
    vectors: Float32[np.ndarray, "rows d"],
    requests: Requests,
    users: FeatureTable,
    block: int = 1024,
) -> Float32[np.ndarray, "q *i d"]:
    """Return each user's vector, [q, d]; [q, interests, d] where the towers give several.

    Args:
        towers: Trained towers.
        vectors: Of every video row, as :func:`video_vectors` gives them, [rows, d].
        requests: What each user has watched, of which the towers read the last `towers.window`, and
            when they ask, [q].
        users: Features of each user, [q].
        block: Users at once; bounds the memory.

    Raises:
        TowersError: A vector is not finite.
    """
    several = (towers.config.interests,) if towers.config.interests > 1 else ()
    out = np.empty((len(requests), *several, towers.dim), np.float32)
    for start in range(0, len(requests), block):
        at = np.arange(start, min(start + block, len(requests)))
        events, time_ms, counts = _newest(requests.take(at), towers.window)
        with _inference(towers) as device:
            states = towers.states(
                _taken(vectors, events, device),
                torch.from_numpy(counts[:, None]).to(device),
                users.tensors(at).to(device),
                torch.from_numpy(time_ms).to(device),
            )
        out[at] = states[:, 0].cpu().numpy()
    return _finite(out, "user")


def _taken(vectors: np.ndarray, events: np.ndarray, device: torch.device) -> Float[Tensor, "q h d"]:
    """Return the events' vectors; to a GPU goes the smaller of all vectors and those that are taken."""
    if device.type == "cuda" and len(vectors) < events.size:
        return torch.tensor(vectors, device=device)[torch.tensor(events, device=device)]
    return torch.from_numpy(vectors[events]).to(device)


def _newest(requests: Requests, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the last `window` events of each row, left-aligned, their times and the request's, and their number."""
    history = requests.history
    counts = (history > 0).sum(axis=1)
    shift = np.maximum(counts - window, 0)
    kept = counts - shift
    step = np.arange(kept.max(initial=0))
    places = np.minimum(shift[:, None] + step, max(0, history.shape[1] - 1))
    inside = step < kept[:, None]
    time_ms = np.full((len(history), len(step) + 1), TIME_UNKNOWN)
    time_ms[:, :-1] = np.where(inside, np.take_along_axis(requests.history_ms, places, axis=1), TIME_UNKNOWN)
    time_ms[np.arange(len(history)), kept] = requests.asked_ms
    return np.where(inside, np.take_along_axis(history, places, axis=1), 0), time_ms, kept


class _inference:  # noqa: N801 - reads as a statement
    """No gradients and no dropout for a while; gives the towers' device."""

    def __init__(self, towers: TwoTower) -> None:
        self.towers, self.mode, self.was_training = towers, torch.inference_mode(), towers.training

    def __enter__(self) -> torch.device:
        if self.was_training:  # walking through all modules takes a tenth of a request
            self.towers.eval()
        self.mode.__enter__()
        return self.towers.start.device

    def __exit__(self, *error: object) -> None:
        self.mode.__exit__(None, None, None)
        if self.was_training:
            self.towers.train()


def _finite(vectors: np.ndarray, what: str) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=tuple(range(1, vectors.ndim))))
    if len(bad):
        raise TowersError(f"the vector of {what} {bad[0]} is not finite ({len(bad)} such); the towers' weights are bad")
    return vectors


class TorchUserTower:
    """Answers as :class:`towers.models.UserTower` where a history encoder has no form for it: slowly, and with torch.

    Args:
        towers: Trained towers.
        vectors: As of UserTower.
        users: As of UserTower.
    """

    def __init__(self, towers: TwoTower, vectors: Float32[np.ndarray, "rows d"], users: FeatureTable) -> None:
        self._towers, self._vectors, self._users = towers, vectors, users

    def queries(
        self,
        requests: Requests,
        users: Int64[np.ndarray, " q"],
        vectors: Float32[np.ndarray, "n d"] | None = None,
    ) -> Float32[np.ndarray, "q *i d"]:
        """Return each user's vector; see UserTower.queries."""
        vectors = self._vectors if vectors is None else vectors
        return query_vectors(self._towers, vectors, requests, self._users.take(users))
