"""The user tower of requests: its own weights, any encoder, several threads, and no number that is none."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from towers.data import Positives
from towers.features import FeatureTable, Requests
from towers.index import Exact
from towers.models import TwoTower, UserTower, arrays_of, query_vectors
from towers.models.machine import FORMS
from towers.publishing.parity import Material
from towers.types import BundleError, Geometry, TowersError

from .conftest import ROWS, USERS, Make

HISTORIES = Requests.without_times(np.random.default_rng(3).integers(2, ROWS, (USERS, 7)))
WHO = np.arange(USERS)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(ROWS, 8)).astype(np.float32)


def test_an_encoder_without_a_form_of_its_own_goes_through_torch(
    make: Make, user_table: FeatureTable, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = make("gated").eval()
    nothing = Positives(
        np.zeros(USERS + 1, np.int64), *(np.zeros(0, kind) for kind in (np.int32, np.int64, np.float32))
    )
    index = Exact().build(vectors, np.arange(ROWS), Geometry.dot)
    material = Material(arrays_of(towers), vectors, nothing, user_table, index, towers)
    own = material.user_tower.queries(HISTORIES, WHO)
    monkeypatch.delitem(FORMS, "gated")
    with pytest.raises(BundleError, match="towers with 'gated' answer through torch alone, which was not loaded"):
        replace(material, in_torch=None).user_tower  # noqa: B018
    by_torch = replace(material).user_tower.queries(HISTORIES, WHO)
    np.testing.assert_array_equal(by_torch, query_vectors(towers, vectors, HISTORIES, user_table))
    assert 0 < np.abs(own - by_torch).max() < 1e-5
    moved = replace(material).user_tower.queries(HISTORIES, WHO, vectors[::-1].copy())
    np.testing.assert_array_equal(moved, query_vectors(towers, vectors[::-1].copy(), HISTORIES, user_table))


def test_weights_are_taken_once(make: Make, user_table: FeatureTable, vectors: np.ndarray) -> None:
    towers = make("attention").eval()
    tower = UserTower(arrays_of(towers), vectors, user_table)
    before = tower.queries(HISTORIES, WHO)
    with torch.no_grad():
        for parameter in towers.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(tower.queries(HISTORIES, WHO), before)


def test_each_user_is_told_apart_by_features_history_and_moment(
    make: Make, user_table: FeatureTable, vectors: np.ndarray
) -> None:
    tower = UserTower(arrays_of(make("recency").eval()), vectors, user_table)
    same = Requests.without_times(np.full((2, 3), 5))
    later = Requests(same.history, same.history_ms, np.array([0, 43_200_000]))
    one, other = (int((user_table.codes[:, 0] == code).argmax()) for code in (0, 1))
    unmoved, by_features, by_moment = (
        tower.queries(requests, np.array(users))
        for requests, users in ((same, [one, one]), (same, [one, other]), (later, [one, one]))
    )
    np.testing.assert_array_equal(unmoved[0], unmoved[1])
    assert np.abs(by_features[0] - by_features[1]).max() > 0.01
    assert np.abs(by_moment[0] - by_moment[1]).max() > 0.01


def test_a_vector_that_is_no_number_is_named(make: Make, user_table: FeatureTable, vectors: np.ndarray) -> None:
    vectors[HISTORIES.history[4, -1]] = np.nan
    spoilt = np.isnan(vectors[HISTORIES.history[:, -5:]]).any(axis=(1, 2))
    message = rf"the vector of user {spoilt.argmax()} is not finite; the towers' weights are bad"
    for kind in ("mean", "transformer", "gru"):
        with pytest.raises(TowersError, match=message):
            UserTower(arrays_of(make(kind).eval()), vectors, user_table).queries(HISTORIES, WHO)


def test_threads_may_share_it(make: Make, user_table: FeatureTable, vectors: np.ndarray) -> None:
    tower = UserTower(arrays_of(make("transformer").eval()), vectors, user_table)
    alone = [tower.queries(HISTORIES.take(WHO[[user]]), WHO[[user]]) for user in WHO]
    with ThreadPoolExecutor(8) as pool:
        asked = WHO.tolist() * 40
        found = list(pool.map(lambda user: tower.queries(HISTORIES.take(WHO[[user]]), WHO[[user]]), asked))
    for user, query in zip(asked, found, strict=True):
        np.testing.assert_array_equal(query, alone[user])


def test_nobody_asks_for_nothing(make: Make, user_table: FeatureTable, vectors: np.ndarray) -> None:
    towers: TwoTower = make("hstu").eval()
    nobody = Requests.without_times(np.zeros((0, 0), np.int64))
    assert UserTower(arrays_of(towers), vectors, user_table).queries(nobody, WHO[:0]).shape == (0, 8)
