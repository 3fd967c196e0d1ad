"""What is alike lies together on the plane, always at the same place."""

import numpy as np
import pytest

from towers.serving.page.plane import flattened, nearest, normalised


def clusters(count: int, size: int, dim: int = 16) -> np.ndarray:
    random = np.random.default_rng(3)
    centres = np.linalg.qr(random.normal(size=(dim, dim)))[0][:count]
    return np.repeat(centres, size, axis=0).astype(np.float32) + random.normal(0, 0.05, (count * size, dim)).astype(
        np.float32
    )


def test_the_neighbours_on_the_plane_are_of_the_same_kind() -> None:
    kinds = np.repeat(np.arange(6), 60)
    places = flattened(clusters(6, 60))
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    near = np.argsort(apart, axis=1)[:, :10]
    assert (kinds[near] == kinds[:, None]).mean() > 0.99
    assert np.linalg.norm(places, axis=1).max() == pytest.approx(1)


def test_it_is_the_same_each_time_and_lengths_count_nothing() -> None:
    vectors = clusters(3, 20)
    assert flattened(vectors).tolist() == flattened(vectors.copy()).tolist()
    np.testing.assert_array_equal(flattened(vectors), flattened(vectors * 4))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 14])
def test_few_and_equal_vectors_have_places_too(count: int) -> None:
    for vectors in (np.ones((count, 4), np.float32), np.zeros((count, 4), np.float32), np.eye(14, 1, dtype=np.float32)):
        places = flattened(vectors)
        assert places.shape == (len(vectors), 2)
        assert np.isfinite(places).all()


def test_nearest_is_the_true_one_across_blocks() -> None:
    directions = normalised(clusters(5, 130))
    near = np.sort(nearest(directions, directions, 4, itself=False), axis=1)
    likeness = directions @ directions.T
    np.fill_diagonal(likeness, -np.inf)
    assert near.tolist() == np.sort(np.argsort(-likeness, axis=1)[:, :4], axis=1).tolist()
    assert nearest(directions, directions, 1)[:, 0].tolist() == list(range(650))
