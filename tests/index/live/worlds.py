"""What the tests of the live index share: whole numbers, whose sums are exact, and the truth in a dict."""

from pathlib import Path

import numpy as np

from towers.index import Ivf, Live, Upkeep
from towers.types import Geometry, Hits

D = 4
BY_HAND = Upkeep(background=False)
EVERYWHERE = Ivf(nlist=2, nprobe=2)
Truth = dict[int, np.ndarray]


def whole(seed: int, n: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-3, 4, (n, D)).astype(np.float32)


def begun(folder: Path, n: int = 20) -> tuple[Live, Truth]:
    """A live index of n videos, and what is in it."""
    vectors, ids = whole(0, n), np.arange(n) * 2
    Live.create(folder, vectors, ids, Geometry.dot, EVERYWHERE if n > 1 else None).close()
    return Live.open(folder, upkeep=BY_HAND), dict(zip(ids.tolist(), vectors, strict=True))


def best(truth: Truth, queries: np.ndarray, k: int, exclude: list[np.ndarray], allow: np.ndarray | None) -> Hits:
    """The true best k."""
    ids = np.array(sorted(truth), np.int64)
    vectors = np.array([truth[name] for name in ids.tolist()], np.float32).reshape(-1, D)
    scores = queries @ vectors.T
    for row, gone in enumerate(exclude):
        scores[row, np.isin(ids, gone)] = -np.inf
    if allow is not None:
        scores[:, ~np.isin(ids, allow)] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, k)), constant_values=-np.inf)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, order, axis=1)
    return Hits(np.where(np.isfinite(scores), np.pad(ids, (0, k))[order], -1), scores)


def check(live: Live, truth: Truth) -> None:
    """The index holds the truth, and finds it."""
    assert live.ids.tolist() == sorted(truth)
    assert len(live) == len(truth)
    queries = whole(9, 2)
    found, expected = live.search(queries, len(truth) + 2), best(truth, queries, len(truth) + 2, [], None)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
