"""Users' own vectors: nothing at first, only for whom training met, and the same wherever a query is made."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from towers.data import TIME_UNKNOWN, Encoders
from towers.features import FeatureTable, Requests
from towers.models import (
    HISTORIES,
    MeanHistory,
    ModelConfig,
    TwoTower,
    UserTower,
    arrays_of,
    load_towers,
    query_vectors,
    save_towers,
)
from towers.types import ConfigError

from .conftest import ROWS, USERS

DIM, NEW = 8, 3
"""The last three users came after training."""
VECTORS = np.random.default_rng(4).normal(size=(ROWS, DIM)).astype(np.float32)
REQUESTS = Requests.without_times(np.random.default_rng(3).integers(2, ROWS, (USERS, 4)))
ALIKE = FeatureTable(np.zeros((USERS, 0), np.int32))
WHO = np.arange(USERS)
both_tables = pytest.mark.parametrize("buckets", [0, 4])


def towers_of(kind: str = "mean", buckets: int = 0, *, own: bool = True, noise: int | None = 0) -> TwoTower:
    """Towers, and users' own vectors drawn by a seed; None leaves them as they begin."""
    torch.manual_seed(0)
    history = HISTORIES[kind]()
    config = ModelConfig(history=history, dim=DIM, window=5, user_id=own, user_id_buckets=buckets)
    towers = TwoTower(config, Encoders(), torch.ones(ROWS, dtype=torch.bool), torch.arange(USERS) < USERS - NEW)
    if towers.user_ids is not None and noise is not None:
        torch.nn.init.normal_(towers.user_ids.weight, generator=torch.Generator().manual_seed(noise))
    return towers.eval()


def asked(towers: TwoTower, users: np.ndarray = WHO, history: Requests = REQUESTS) -> np.ndarray:
    return query_vectors(towers, VECTORS, history.take(np.arange(len(users))), ALIKE.take(users))


@both_tables
@pytest.mark.parametrize("kind", HISTORIES)
def test_training_begins_as_without_them(kind: str, buckets: int) -> None:
    begun, without = towers_of(kind, buckets, noise=None), towers_of(kind, own=False)
    np.testing.assert_array_equal(asked(begun), asked(without))
    assert towers_of(kind, own=False).user_ids is None
    assert "user_ids.weight" not in without.state_dict()


def test_a_user_s_vector_is_added_to_the_state() -> None:
    """The mean of no events is the start: to move a user is to move the start."""
    towers, nothing = towers_of(), Requests.without_times(np.zeros((1, 0), np.int64))
    assert towers.user_ids is not None
    moved = asked(towers, np.array([2]), nothing)
    with torch.no_grad():
        towers.start.add_(towers.user_ids.weight[2])
        towers.user_ids.weight.zero_()
    np.testing.assert_allclose(asked(towers, np.array([2]), nothing), moved, atol=1e-6)


@both_tables
@given(noise=st.integers(1, 10_000))
def test_whoever_is_not_known_is_answered_alike_whatever_the_table_holds(buckets: int, noise: int) -> None:
    one, other = towers_of("recency", buckets), towers_of("recency", buckets, noise=noise)
    with torch.no_grad():
        other.user_ids.weight[1] = one.user_ids.weight[1]  # type: ignore[union-attr]
    new = np.array([1, *WHO[-NEW:]])
    requests = REQUESTS.take(WHO[: len(new)])
    served, differently = (
        UserTower(arrays_of(towers), VECTORS, ALIKE).queries(requests, new) for towers in (one, other)
    )
    np.testing.assert_array_equal(served, differently)
    np.testing.assert_array_equal(asked(one, new), asked(other, new))
    assert (np.abs(asked(one, WHO[2:-NEW]) - asked(other, WHO[2:-NEW])).max(axis=1) > 1e-3).all()
    same = Requests.without_times(np.repeat(REQUESTS.history[:1], len(new), axis=0))
    found = asked(one, new, same)
    np.testing.assert_array_equal(found, found[:1].repeat(len(new), axis=0))


@pytest.mark.parametrize("kind", HISTORIES)
def test_a_row_moves_its_own_user_alone(kind: str) -> None:
    towers = towers_of(kind)
    before = asked(towers)
    with torch.no_grad():
        towers.user_ids.weight[4] += 1  # type: ignore[union-attr]
    moved = np.abs(asked(towers) - before).max(axis=1)
    assert moved[4] > 0.01
    assert not np.delete(moved, 4).any()


def test_the_share_that_must_do_without_is_that_of_the_queries_in_training() -> None:
    towers = towers_of()
    for module in towers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    towers.config.history_dropout = 0.0
    events, users = torch.zeros(USERS, 2000, DIM), ALIKE.tensors()
    state, moment = torch.arange(2001).expand(USERS, -1), torch.full((USERS, 2001), TIME_UNKNOWN)
    served = towers.states(events, state, users, moment)
    unknown = towers.states(events, state, ALIKE.take(WHO * 0 + 1).tensors(), moment)
    torch.manual_seed(0)
    for share in (1.0, 0.3, 0.0):
        towers.config.user_id_dropout = share
        trained = towers.train().states(events, state, users, moment)
        out = (trained - unknown).abs().amax(-1) < 1e-6
        assert float(out[2:-NEW].float().mean()) == pytest.approx(share, abs=0.02)
        assert out[-NEW:].all()
        torch.testing.assert_close(torch.where(out[..., None], unknown, served), trained)


def test_towers_that_go_on_give_new_users_the_vector_of_the_unknown_one() -> None:
    before, after = towers_of(), towers_of(noise=None)
    after.known_users = torch.arange(USERS) < USERS - 1
    after.continue_from(before)
    assert after.known_users.tolist() == [True] * (USERS - 1) + [False]
    kept, own = (towers.user_ids.weight.detach() for towers in (before, after))  # type: ignore[union-attr]
    torch.testing.assert_close(own[: USERS - NEW], kept[: USERS - NEW])
    torch.testing.assert_close(own[USERS - NEW : -1], kept[1:2].expand(NEW - 1, -1))
    hashed, again = towers_of(buckets=4), towers_of(buckets=4, noise=None)
    again.continue_from(hashed)
    assert torch.equal(again.user_ids.weight, hashed.user_ids.weight)  # type: ignore[union-attr]


@both_tables
def test_towers_come_back_from_the_disk(buckets: int, tmp_path: Path) -> None:
    towers = towers_of(buckets=buckets)
    save_towers(towers, tmp_path / "towers")
    again = load_towers(tmp_path / "towers")
    assert again.config == towers.config
    np.testing.assert_array_equal(asked(again), asked(towers))


def test_towers_need_to_be_told_whom_training_met() -> None:
    with pytest.raises(ConfigError, match=r"model\.user_id is true, and known_users is missing"):
        TwoTower(ModelConfig(history=MeanHistory(), dim=4, window=4, user_id=True), Encoders(), torch.ones(9).bool())


def test_buckets_that_could_not_tell_users_apart_are_refused() -> None:
    message = r"model\.user_id_buckets is 2 for 7 ids, of which some would be the same; expected at least 3"
    with pytest.raises(ConfigError, match=message):
        towers_of(buckets=2)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("user_id_buckets", -1, r"model\.user_id_buckets is -1; expected at least 0"),
        ("user_id_min_count", 0, r"model\.user_id_min_count is 0; expected at least 1"),
        ("user_id_dropout", 1.5, r"model\.user_id_dropout is 1\.5; expected from 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"history": MeanHistory(), option: value})  # type: ignore[arg-type]
