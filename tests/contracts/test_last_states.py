"""What every history encoder's form for requests promises: the last state, as torch has it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN, Encoder, Encoders, Kind
from towers.features import FeatureTable, Requests
from towers.models import (
    HISTORIES,
    ModelConfig,
    PopularityTerm,
    TwoTower,
    UserTower,
    arrays_of,
    has_form,
    query_vectors,
)

from .test_history_encoders import KINDS, TIMED

ROWS, USERS, WINDOW, LONGEST = 30, 12, 19, 25
ENCODERS = Encoders(
    users=(
        Encoder("region", Kind.categorical, values=("a", "b")),
        Encoder("age", Kind.numeric, boundaries=(1.0, 2.0)),
        Encoder("likes", Kind.multi, values=("x", "y")),
        Encoder("knows", Kind.multi, values=("x",)),
        Encoder("portrait", Kind.vector, dim=3),
    ),
    videos=(),
)
every_encoder = pytest.mark.parametrize("kind", KINDS)


def towers_of(kind: str, **options: object) -> TwoTower:
    """Options are the model's; two thirds of the users are known."""
    torch.manual_seed(0)
    name, _, timed = kind.partition(" with ")
    history = HISTORIES[name](**({"times": bool(timed)} if name in TIMED else {}))
    config = ModelConfig(history=history, dim=10, window=WINDOW, **options)  # type: ignore[arg-type]
    towers = TwoTower(config, ENCODERS, torch.ones(ROWS, dtype=torch.bool), torch.arange(USERS) % 3 > 0)
    for parameter in towers.parameters():
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.5)
    return towers.eval()


def users_of(rng: np.random.Generator) -> FeatureTable:
    """Features of which a third is missing."""
    there = rng.random((5, USERS, 1)) < 2 / 3
    return FeatureTable(
        (rng.integers(1, 4, (USERS, 2)) * there[0]).astype(np.int32),
        tuple((rng.integers(0, 3, (USERS, width)) * there[width]).astype(np.int32) for width in (3, 1)),
        ((rng.normal(size=(USERS, 3)) * there[4]).astype(np.float32),),
    )


def requests_of(rng: np.random.Generator, counts: list[int]) -> Requests:
    """Histories of which a fifth of the times is unknown, from a second to a year apart."""
    shape = (len(counts), LONGEST)
    inside = np.arange(LONGEST) < np.array(counts)[:, None]
    happened = 1_650_000_000_000 + np.cumsum(np.exp(17 * rng.random(shape)).astype(np.int64) * 1000, axis=1)
    asked = happened.max(axis=1) + np.exp(17 * rng.random(len(counts))).astype(np.int64) * 1000
    return Requests(
        np.where(inside, rng.integers(2, ROWS, shape), 0),
        np.where(inside & (rng.random(shape) < 0.8), happened, TIME_UNKNOWN),
        np.where(rng.random(len(counts)) < 0.6, asked, TIME_UNKNOWN),
    )


@every_encoder
@given(
    counts=st.lists(st.sampled_from([0, 1, 2, 5, 6, 7, 16, 18, WINDOW, LONGEST]), max_size=4),
    seed=st.integers(0, 10_000),
    interests=st.sampled_from([1, 3]),
    popularity=st.sampled_from([PopularityTerm.none, PopularityTerm.recent]),
    features=st.booleans(),
    own=st.sampled_from([{}, {"user_id": True}, {"user_id": True, "user_id_buckets": 4}]),
)
def test_requests_get_what_torch_makes(
    kind: str, counts: list[int], seed: int, own: dict[str, object], **options: object
) -> None:
    rng, towers = np.random.default_rng(seed), towers_of(kind, **options, **own)
    vectors = rng.normal(size=(ROWS, towers.dim)).astype(np.float32)
    table, users, requests = users_of(rng), rng.integers(0, USERS, len(counts)), requests_of(rng, counts)
    served = UserTower(arrays_of(towers), vectors, table).queries(requests, users)
    evaluated = query_vectors(towers, vectors, requests, table.take(users))
    assert served.shape == evaluated.shape
    np.testing.assert_allclose(served, evaluated, atol=1e-5, rtol=1e-5)


@every_encoder
def test_long_windows_of_wide_vectors_too(kind: str) -> None:
    torch.manual_seed(1)
    name, _, timed = kind.partition(" with ")
    options = {"times": bool(timed)} if name in TIMED else {}
    config = ModelConfig(history=HISTORIES[name](**options), dim=64, window=130)
    towers = TwoTower(config, Encoders(users=(), videos=()), torch.ones(ROWS, dtype=torch.bool)).eval()
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ROWS, 64)).astype(np.float32)
    requests = Requests.without_times(rng.integers(2, ROWS, (2, 131)))
    table = FeatureTable(np.zeros((2, 0), np.int32))
    served = UserTower(arrays_of(towers), vectors, table).queries(requests, np.array([0, 1]))
    np.testing.assert_allclose(served, query_vectors(towers, vectors, requests, table), atol=1e-5)


@every_encoder
def test_the_shipped_encoders_have_such_a_form(kind: str) -> None:
    assert has_form(arrays_of(towers_of(kind)))
