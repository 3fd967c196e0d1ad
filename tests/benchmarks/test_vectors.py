from pathlib import Path

import numpy as np

from benchmarks.vectors import AT_ONCE, LIKE, K, drawn, write_made
from towers.types import Geometry


def test_the_best_are_the_true_best_of_what_was_written(tmp_path: Path) -> None:
    world = write_made(tmp_path, LIKE["kuairand"], 500, 8, users=20)
    scores = np.asarray(world.users @ world.videos.T)
    assert np.array_equal(world.best, np.argsort(-scores, axis=1)[:, :K])
    assert world.geometry is Geometry.cosine
    assert world.others.shape == world.users.shape
    assert (world.others[:, None] != world.users[None]).any(axis=2).all()
    assert np.allclose(np.linalg.norm(world.videos, axis=1), 1, atol=1e-6)


def test_blocks_are_written_one_after_the_other(tmp_path: Path) -> None:
    blocks, _ = drawn(LIKE["gowalla"], AT_ONCE + 10, 4, 2 * 5)
    world = write_made(tmp_path, LIKE["gowalla"], AT_ONCE + 10, 4, users=5)
    assert np.array_equal(np.concatenate(list(blocks)), world.videos)


def test_axes_stand_nowhere_in_particular() -> None:
    blocks, _ = drawn(LIKE["kuairand"], 20_000, 16, 5)
    spread = np.concatenate(list(blocks)).std(axis=0)
    assert spread.max() / spread.min() < 2.5  # along the axes themselves it would be e^2.4
