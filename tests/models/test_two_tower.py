from dataclasses import replace

import numpy as np
import pytest
import torch

from towers.data import TIME_UNKNOWN, Positives
from towers.features import BatchSource, Catalogue, FeatureTable, Requests
from towers.models import HISTORIES, MeanHistory, ModelConfig, RecencyHistory, TwoTower, query_vectors, video_vectors
from towers.models.history import Clock
from towers.types import ConfigError, Geometry, TowersError

from .conftest import ROWS, USERS, Make


def test_cosine_vectors_have_length_one_and_dot_vectors_do_not(make: Make, video_table: FeatureTable) -> None:
    lengths = {}
    for geometry in Geometry:
        vectors = video_vectors(make(geometry=geometry), video_table)
        assert (vectors[0] == 0).all()
        lengths[geometry] = np.linalg.norm(vectors[1:], axis=1)
    np.testing.assert_allclose(lengths[Geometry.cosine], 1, rtol=1e-5)
    assert lengths[Geometry.dot].std() > 0.1


def test_blocks_do_not_change_vectors(make: Make, video_table: FeatureTable, user_table: FeatureTable) -> None:
    towers = make()
    vectors = video_vectors(towers, video_table)
    np.testing.assert_allclose(video_vectors(towers, video_table, block=7), vectors, atol=1e-6)
    history = np.random.default_rng(2).integers(1, ROWS, (USERS, 5))
    requests = Requests.without_times(history)
    whole = query_vectors(towers, vectors, requests, user_table)
    np.testing.assert_allclose(query_vectors(towers, vectors, requests, user_table, block=2), whole, atol=1e-6)


def test_a_video_unseen_in_training_is_carried_by_its_features(make: Make, video_table: FeatureTable) -> None:
    towers = make()
    features = video_table.take(np.zeros(ROWS, np.int64))
    vectors = video_vectors(towers, features)
    late = np.arange(ROWS - 4, ROWS)
    np.testing.assert_array_equal(vectors[late], vectors[[1] * 4])
    assert not np.allclose(vectors[2], vectors[3])
    assert not np.allclose(video_vectors(towers, video_table)[late[0]], video_vectors(towers, video_table)[late[1]])


def test_towers_without_features_tell_videos_apart_by_their_ids_alone(make: Make, video_table: FeatureTable) -> None:
    vectors = video_vectors(make(features=False), video_table)
    np.testing.assert_array_equal(vectors, video_vectors(make(features=False), video_table.take(np.zeros(ROWS, int))))
    np.testing.assert_array_equal(vectors[-4:], vectors[[1] * 4])
    assert not np.allclose(vectors[2], vectors[3])


def test_id_dropout_replaces_ids_in_training_alone(make: Make, video_table: FeatureTable) -> None:
    towers = make()
    towers.config.id_dropout = 1.0
    rows, features = torch.arange(1, ROWS - 4), video_table.take(np.ones(ROWS - 5, np.int64)).tensors()
    trained, served = towers.train().videos(rows, features), towers.eval().videos(rows, features)
    torch.testing.assert_close(trained, trained[:1].expand_as(trained))
    assert not torch.allclose(served[1], served[2])


UNTIMED = np.full(7, TIME_UNKNOWN)
TIMED = 1_650_000_000_000 + np.array([0, 7_000, 8_000, 3_600_000, 3_601_000, 90_000_000, 800_000_000])


@pytest.mark.parametrize(
    "time_ms", [UNTIMED, TIMED, np.concatenate([UNTIMED[:2], TIMED[2:]])], ids=["no", "all", "some"]
)
@pytest.mark.parametrize("kind", list(HISTORIES))
def test_serving_repeats_training_at_every_position(
    kind: str, time_ms: np.ndarray, make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    """State t of a training window is the query that serving makes of the first t events when the next happens."""
    towers = make(kind, window=6).eval()
    events = np.random.default_rng(3).integers(2, ROWS, 7).astype(np.int32)
    positives = Positives(np.array([0] * 4 + [7] * 6), events, time_ms, np.ones(7, np.float32))
    source = BatchSource(positives, user_table, video_table, np.arange(2, ROWS), Catalogue(), towers.window, 100)
    (batch,) = source.epoch(0, 0)
    with torch.no_grad():
        trained, vectors = towers(batch)
    table = video_vectors(towers, video_table)
    np.testing.assert_allclose(table[2:], vectors.numpy(), atol=1e-6)
    for count in range(7):
        history, history_ms = np.zeros((1, 6), np.int64), np.full((1, 6), TIME_UNKNOWN)
        history[0, :count], history_ms[0, :count] = events[:count], time_ms[:count]
        requests = Requests(history, history_ms, time_ms[count : count + 1])
        served = query_vectors(towers, table, requests, user_table.take(np.array([3])))
        np.testing.assert_allclose(served[0], trained[0, count].numpy(), atol=1e-6)


def test_a_batch_in_which_nobody_has_a_past_is_one_like_others(
    make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    firsts = Positives(
        np.array([0] * 4 + [1, 2, 3]), np.array([5, 6, 7], np.int32), UNTIMED[:3], np.ones(3, np.float32)
    )
    (batch,) = BatchSource(firsts, user_table, video_table, np.arange(2, ROWS), Catalogue(), 5, 100).epoch(0, 0)
    queries, _ = make().eval()(batch)
    assert queries.shape == (3, 1, 8)


def test_only_the_newest_events_of_a_long_history_count(
    make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    towers = make(window=4)
    vectors = video_vectors(towers, video_table)
    long, short = (Requests.without_times(np.arange(first, 11)[None]) for first in (2, 7))
    one = user_table.take(np.array([2]))
    np.testing.assert_array_equal(query_vectors(towers, vectors, long, one), query_vectors(towers, vectors, short, one))


def test_features_and_moment_move_the_query(make: Make, video_table: FeatureTable) -> None:
    towers = make()
    vectors = video_vectors(towers, video_table)
    nobody = Requests.without_times(np.zeros((1, 0), np.int64))
    evening = replace(nobody, asked_ms=np.array([19 * 3_600_000]))
    base = query_vectors(towers, vectors, nobody, FeatureTable(np.array([[2]], np.int32)))
    other = query_vectors(towers, vectors, nobody, FeatureTable(np.array([[3]], np.int32)))
    later = query_vectors(towers, vectors, evening, FeatureTable(np.array([[2]], np.int32)))
    assert not np.allclose(base, other)
    assert not np.allclose(base, later)


def test_user_dropout_makes_users_unknown_in_training_alone(make: Make, user_table: FeatureTable) -> None:
    towers = make()
    towers.config.user_dropout, towers.config.context_dropout = 1.0, 0.0
    events, none = torch.zeros(USERS, 0, 8), torch.full((USERS, 1), TIME_UNKNOWN)
    known, unknown = user_table.tensors(), user_table.take(np.zeros(USERS, np.int64)).tensors()
    unknown = unknown.without(torch.ones(USERS, dtype=torch.bool))
    state = torch.zeros(USERS, 1, dtype=torch.long)
    for module in towers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    towers.train()
    torch.testing.assert_close(towers.states(events, state, known, none), towers.states(events, state, unknown, none))
    towers.eval()
    assert not torch.allclose(towers.states(events, state, known, none), towers.states(events, state, unknown, none))


def test_times_are_left_out_in_training_alone(make: Make, user_table: FeatureTable) -> None:
    towers = make("hstu", window=5).eval()
    towers.config.time_dropout, towers.config.context_dropout, towers.config.user_dropout = 1.0, 1.0, 0.0
    events, users = torch.randn(USERS, 5, 8), user_table.tensors()
    state = torch.full((USERS, 1), 5)
    times = torch.from_numpy(TIMED[:6]).expand(USERS, -1)
    served = towers.states(events, state, users, times)
    timeless = towers.states(events, state, users, torch.full_like(times, TIME_UNKNOWN))
    assert not torch.allclose(served, timeless)
    towers.train()
    for module in towers.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    torch.testing.assert_close(towers.states(events, state, users, times), timeless)


def test_a_window_that_is_cut_off_keeps_the_times_of_its_events(
    make: Make, video_table: FeatureTable, user_table: FeatureTable
) -> None:
    towers = make("hstu", window=4)
    vectors, one = video_vectors(towers, video_table), user_table.take(np.array([2]))
    long = Requests(np.arange(2, 9)[None], TIMED[None], TIMED[-1:] + 5_000)
    short = replace(long, history=long.history[:, 3:], history_ms=long.history_ms[:, 3:])
    wanted = query_vectors(towers, vectors, short, one)
    np.testing.assert_array_equal(query_vectors(towers, vectors, long, one), wanted)
    shifted = replace(short, history_ms=np.roll(short.history_ms, 1))
    assert not np.allclose(query_vectors(towers, vectors, shifted, one), wanted)


def test_towers_that_go_on_give_new_videos_the_vector_of_the_unknown_one(make: Make) -> None:
    before, after = make(), make()
    after.known = torch.ones(ROWS, dtype=torch.bool)
    torch.nn.init.normal_(before.ids.weight)
    after.continue_from(before)
    assert after.known.all()
    torch.testing.assert_close(after.ids.weight[: ROWS - 4], before.ids.weight[: ROWS - 4])
    torch.testing.assert_close(after.ids.weight[ROWS - 4 :], before.ids.weight[1:2].expand(4, -1))


def test_a_learned_temperature_stays_above_the_least(make: Make) -> None:
    towers = make()
    torch.nn.init.constant_(towers.log_scale, 9.0)
    towers.bound_temperature()
    assert float(towers.scale.detach()) == pytest.approx(100)


def test_weights_that_are_not_finite_are_named(make: Make, video_table: FeatureTable) -> None:
    towers = make()
    torch.nn.init.constant_(towers.ids.weight[5], torch.nan)
    with pytest.raises(
        TowersError, match=r"the vector of video 5 is not finite \(1 such\); the towers' weights are bad"
    ):
        video_vectors(towers, video_table)


def clockless(count: int) -> Clock:
    """Times of one window, none of them known."""
    return Clock(*torch.full((2, 1, count), TIME_UNKNOWN))


def test_a_mean_by_hand() -> None:
    states = MeanHistory().build(1, 4)(torch.tensor([[[2.0], [4.0], [9.0]]]), clockless(3))
    assert states[0, :, 0].tolist() == [2.0, 3.0, 5.0]


def test_recency_by_hand() -> None:
    # weights by steps back: 1, 1/2, 1/4; the start weighs 1
    encoder = RecencyHistory(heads=1).build(1, 3)
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            value.copy_(torch.tensor([[1.0, 0.5, 0.25, 0.125]]).log() if name == "log_weight" else torch.zeros(1))
    states = encoder(torch.tensor([[[7.0], [4.0], [10.0]]]), clockless(3))[0, :, 0]
    torch.testing.assert_close(states, torch.tensor([7.0, (7 + 4) / 2, (7 + 4 / 2 + 10) / 2.5]))


def test_a_history_longer_than_the_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match="a history of 5 events; these towers read 3"):
        RecencyHistory().build(2, 3)(torch.zeros(1, 6, 2), clockless(6))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("dim", -2, r"model\.dim is -2; expected at least 1, or 0 for a choice"),
        ("window", -1, r"model\.window is -1; expected at least 1"),
        ("temperature", 0.0, r"model\.temperature is 0\.0; expected at least 0\.01, usually \.05 to \.2"),
        ("id_dropout", 1.5, r"model\.id_dropout is 1\.5; expected from 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(option: str, value: float, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**{"history": MeanHistory(), option: value})  # type: ignore[arg-type]


def test_what_training_has_yet_to_choose_cannot_be_built(make: Make) -> None:
    towers = make()
    with pytest.raises(ConfigError, match=r"model\.dim or model\.window is 0, which `train` fills in"):
        TwoTower(ModelConfig(history=MeanHistory(), dim=4), towers.encoders, towers.known)


def test_ids_begin_where_they_are_told_and_the_others_at_random(make: Make) -> None:
    towers = make()
    before = towers.ids.weight.detach().clone()
    vectors = torch.zeros_like(before)
    vectors[3] = 0.25
    towers.begin_ids(vectors)
    assert (towers.ids.weight[3] == 0.25).all()
    others = torch.arange(len(before)) != 3
    assert torch.equal(towers.ids.weight[others], before[others])


def test_a_history_of_no_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"history\.heads is 0; expected at least 1"):
        RecencyHistory(heads=0)


def test_a_learned_temperature_is_trained_and_a_fixed_one_is_not(make: Make) -> None:
    fixed = make()
    assert not fixed.log_scale.requires_grad
    assert float(fixed.scale) == pytest.approx(10)
    learned = TwoTower(
        ModelConfig(history=MeanHistory(), dim=4, window=4, learn_temperature=True, temperature=0.2),
        fixed.encoders,
        fixed.known,
    )
    assert learned.log_scale.requires_grad
    assert float(learned.scale.detach()) == pytest.approx(5)
