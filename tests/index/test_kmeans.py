import numpy as np
import pytest

from towers.index.kmeans import highest, k_means, nearest_of


def points(n: int, d: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 40, 255, 256, 257, 700])
@pytest.mark.parametrize("n", [0, 1, 23, 24, 33, 64, 200])
def test_the_highest_is_that_of_all_products(count: int, n: int) -> None:
    asked, directions, less = points(n), points(count, seed=1), points(count, 1, seed=2)[:, 0]
    products = asked @ directions.T - less
    places, scores = highest(asked, directions, less)
    np.testing.assert_array_equal(places, products.argmax(axis=1))
    np.testing.assert_allclose(scores, products.max(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("copies", [2, 300, 600])
def test_of_equal_directions_the_first_is_taken(copies: int) -> None:
    directions = np.concatenate([points(5), 9 * points(1, seed=7).repeat(copies, axis=0), points(5)])
    places, _ = highest(points(1, seed=7), directions, np.zeros(len(directions), np.float32))
    assert places.tolist() == [5]


def test_nobody_is_nearest_to_what_fills_up_a_part() -> None:
    far = -100 * np.ones((3, 2), np.float32)
    assert highest(far, np.ones((2, 2), np.float32), np.arange(2, dtype=np.float32))[0].tolist() == [0, 0, 0]
    assert len(nearest_of(far[:0], far)) == 0


def test_every_mean_is_that_of_the_points_that_were_nearest_to_it() -> None:
    about = np.repeat(10 * points(8, seed=3), 50, axis=0) + points(400)
    means = k_means(about, 8, spherical=False)
    nearest = nearest_of(about, means)
    assert len(np.unique(nearest)) == 8
    for each in range(8):
        np.testing.assert_allclose(means[each], about[nearest == each].mean(axis=0), rtol=1e-3, atol=1e-3)


def test_means_of_directions_have_length_one() -> None:
    about = points(200)
    about /= np.linalg.norm(about, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(k_means(about, 7, spherical=True), axis=1), 1, rtol=1e-6)


def test_a_mean_that_nothing_is_near_to_goes_to_a_point_far_from_its_own() -> None:
    # All the first means are drawn from the many that are alike.
    alike, other = np.zeros((1000, 2), np.float32), np.full((1, 2), 9, np.float32)
    means = k_means(np.concatenate([alike, other]), 2, spherical=False)
    assert sorted(means.tolist()) == [[0, 0], [9, 9]]


def test_fewer_points_than_means_of_their_own_are_enough() -> None:
    means = k_means(np.ones((6, 3), np.float32), 4, spherical=False)
    np.testing.assert_array_equal(means, np.ones((4, 3)))
