import numpy as np
import pytest

from benchmarks.neighbourhoods import apart, directions, directions_of, fitted, hubs, made, scores, together
from benchmarks.record import read
from benchmarks.vectors import LIKE

TOLERANCE = 0.3


@pytest.mark.parametrize("like", LIKE)
def test_made_up_vectors_lie_like_those_of_the_towers_that_they_were_fitted_to(like: str) -> None:
    rows = [row for row in read("neighbourhoods") if row["like"] == like]
    wanted = {row["what"]: float(row["real"]) for row in rows}
    found = made(LIKE[like], int(rows[-1]["videos"]), 64)
    assert {name: found[name] for name in wanted} == {
        name: pytest.approx(value, rel=TOLERANCE) for name, value in wanted.items()
    }
    assert apart(wanted, found) < 0.16


def test_scores_are_told_in_the_users_own_scale() -> None:
    videos = np.zeros((1000, 2), np.float32)
    videos[:, 0] = np.arange(1000)[::-1] / 999  # a mean of .5, deviations of .289
    best = videos[None, :, 0]
    found = scores(videos, np.array([[1, 0]], np.float32), best)
    assert found["best score"] == pytest.approx(0.5 / np.std(videos[:, 0]), rel=1e-4)
    assert found["gap 100"] == pytest.approx(99 / 999 / 0.5, rel=1e-4)
    assert found["gap 1000"] == pytest.approx(2.0, rel=1e-4)


def test_hubs_take_places() -> None:
    best = np.array([[0, 1], [0, 2], [0, 3], [0, 1]])
    found = hubs(best, 100)
    assert found == {"places of 1%": 0.5, "places of 10%": 1.0, "in no list": 0.96}


def test_neighbours_in_one_list_and_in_many() -> None:
    videos = np.repeat(np.eye(4, dtype=np.float32), 25, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 4))
    assigned = np.repeat([0, 1, 2, 2], 25)
    some = np.arange(0, 100, 5)
    neighbours = (some, some[:, None] // 25 * 25 + np.arange(10))
    found = together(assigned, np.tile(np.arange(100), (3, 1)), neighbours)
    assert found["in one list"] == 0.5
    assert found["lists of 90"] == 3
    assert found["near in list"] == 1.0
    opposite = 99 - neighbours[1]  # of the third and fourth 25, which share a list, none stays; of the others neither
    assert together(assigned, np.tile(np.arange(100), (3, 1)), (some, opposite))["near in list"] == 0.0
    assert found["sizes"] == pytest.approx(np.std([25, 25, 50]) / (100 / 3))
    assert directions_of(videos.astype(np.float32))["directions"] == pytest.approx(3, rel=0.01)


def test_popularity_is_left_out() -> None:
    assert directions(np.array([[3, 4, 9]], np.float32), 2).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_a_fit_comes_nearer() -> None:
    wanted, sizes = made(LIKE["gowalla"], 1500, 8), (1500, 8)
    best = fitted(LIKE["kuairand"], wanted, sizes, tries=20)
    assert apart(wanted, made(best, *sizes)) < apart(wanted, made(LIKE["kuairand"], *sizes))
