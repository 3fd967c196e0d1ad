import numpy as np
import pytest
import torch

from tests.worlds import past_of, users_of
from towers.data import TIME_UNKNOWN
from towers.evaluation import FLOORS, fitted, floors
from towers.evaluation.fitted import SameForAll, rank_floor
from towers.evaluation.floors import Ease, Ials, ItemKnn, Popular, PopularInDays, PopularInLast, ease_weights
from towers.evaluation.past import Past
from towers.types import ConfigError

DAY = 86_400_000
# Video 2 is watched by three, 0 and 1 by two, 3 by one, 4 by nobody.
WATCHED = [[0, 1, 2], [2, 0], [3, 2, 1]]


def _positions(floor: floors.Floor, past: Past, masked: list[int], depth: int = 5) -> list[int]:
    found = rank_floor(floor.fit(past), users_of([masked], [[4]], past.catalogue), depth)
    return [int(row) - 2 for row in found.ids[0] if row >= 0]


def test_popular_counts_everything_and_orders_ties_by_row() -> None:
    assert _positions(Popular(), past_of(WATCHED, 5), []) == [2, 0, 1, 3, 4]


def test_what_was_watched_is_left_out_and_short_lists_end_empty() -> None:
    assert _positions(Popular(), past_of(WATCHED, 5), [2, 3]) == [0, 1, 4]


def test_popular_in_last_looks_at_the_newest_of_each_user() -> None:
    # The last of each user: 2, 0, 1. The last two: 1 2, 2 0, 2 1.
    assert _positions(PopularInLast(events=1), past_of(WATCHED, 5), [])[:3] == [0, 1, 2]
    assert _positions(PopularInLast(events=2), past_of(WATCHED, 5), [])[:3] == [2, 1, 0]


def test_popular_in_days_looks_at_known_times_alone() -> None:
    past = past_of(WATCHED, 5)
    times = np.array([TIME_UNKNOWN, 0, 9, 9, TIME_UNKNOWN, 10, 0, 10]) * 1
    timed = Past(past.offsets, past.column, np.where(times == TIME_UNKNOWN, times, times * DAY), 5)
    # Within a day before day 10, itself included: 3 and 1, once each; 2 and 2 on day 9 are a full day old.
    assert _positions(PopularInDays(days=[1]), timed, [])[:2] == [1, 3]
    assert _positions(PopularInDays(days=[2]), timed, [])[:3] == [2, 1, 3]
    assert PopularInDays(days=[2]).fit(timed).name == "popular in the last 2 days"


def test_popular_in_days_needs_times() -> None:
    assert PopularInDays().refusal(past_of(WATCHED, 5)) == "no event before the cut has a time"


def test_item_knn_is_the_sum_of_cosines() -> None:
    # cos(3, 2) = 1 / √(1·3) = .577, cos(3, 1) = 1 / √(1·2) = .707, cos(3, 0) = 0.
    assert _positions(ItemKnn(), past_of(WATCHED, 5), [3])[:2] == [1, 2]
    found = rank_floor(ItemKnn().fit(past_of(WATCHED, 5)), users_of([[3]], [[4]], 5), 2)
    np.testing.assert_allclose(found.scores[0], [2**-0.5, 3**-0.5], rtol=1e-6)


@pytest.mark.parametrize("videos", [7, 300, 601])
def test_ease_weights_are_those_of_the_closed_form(videos: int) -> None:
    x = (np.random.default_rng(0).random((2 * videos, videos)) < 0.05).astype(np.float64)
    gram = x.T @ x
    inverse = np.linalg.inv(gram + 20 * np.eye(videos))
    wanted = np.where(np.eye(videos), 0, -inverse / np.diag(inverse))
    ours = ease_weights(torch.from_numpy(gram.astype(np.float32)), 20.0)
    np.testing.assert_allclose(ours.numpy(), wanted, atol=2e-6)


def test_ease_names_the_ridge_that_valid_chose() -> None:
    rng = np.random.default_rng(1)
    watched = [rng.choice(40, 8, replace=False).tolist() for _ in range(80)]
    asked = users_of([w[:6] for w in watched], [w[6:] for w in watched], 40)
    past = past_of(watched, 40, training=(past_of([w[:6] for w in watched], 40), asked))
    reached = {r: floors.recall_of(Ease._solved(past.training[0], r), asked) for r in (1.0, 10.0)}  # type: ignore[index]
    best = max(reached, key=lambda ridge: (reached[ridge], ridge))
    assert Ease(ridges=[1.0, 10.0]).fit(past).name == f"EASE (ridge {best:g})"


def test_ials_names_the_penalty_that_valid_chose() -> None:
    rng = np.random.default_rng(1)
    watched = [rng.choice(np.arange(u % 2, 300, 2), 8, replace=False).tolist() for u in range(300)]
    asked = users_of([w[:6] for w in watched], [w[6:] for w in watched], 300)
    past = past_of(watched, 300, training=(past_of([w[:6] for w in watched], 300), asked))
    options = Ials(factors=4, choosing_users=200, penalties=[0.01, 0.1])
    first = asked.pick(np.arange(200))
    reached = {p: floors.recall_of(options._factored(past.training[0], p, 3, 4), first) for p in (0.01, 0.1)}  # type: ignore[index]
    assert reached[0.01] != reached[0.1]
    assert options.fit(past).name == f"iALS (penalty {max(reached, key=reached.__getitem__):g})"


def test_ials_finds_what_a_users_own_kind_watches() -> None:
    rng = np.random.default_rng(1)
    watched = [rng.choice(np.arange(u % 2, 40, 2), 8, replace=False).tolist() for u in range(80)]
    past, fitted_floor = past_of(watched, 40), Ials(factors=2, penalties=[0.01]).fit(past_of(watched, 40))
    found = rank_floor(fitted_floor, users_of(watched, [[0]] * 80, past.catalogue), 12)
    assert [set((row % 2).tolist()) for row in found.ids] == [{u % 2} for u in range(80)]


def test_ials_refuses_a_log_that_would_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floors, "FACTORED_LIMIT", 8)
    assert Ials().refusal(past_of(WATCHED, 5)) is None
    monkeypatch.setattr(floors, "FACTORED_LIMIT", 7)
    assert Ials().refusal(past_of(WATCHED, 5)) == "the past has 8 positives and is factored by iALS up to 7"


@pytest.mark.parametrize("floor", [ItemKnn(), Ease()])
def test_a_large_catalogue_is_refused_with_its_size(floor: floors.Floor) -> None:
    reason = floor.refusal(past_of(WATCHED, 12_001))
    assert reason == "the catalogue has 12,001 videos and its video × video table is filled up to 12,000"
    assert floor.refusal(past_of(WATCHED, 12_000)) is None


@pytest.mark.parametrize("name", FLOORS)
def test_every_floor_ranks_the_whole_catalogue_once(name: str) -> None:
    past = past_of(WATCHED, 5)
    timed = Past(past.offsets, past.column, np.arange(8) * DAY, 5)
    assert sorted(_positions(FLOORS[name](), timed, [])) == [0, 1, 2, 3, 4]
    assert sorted(_positions(FLOORS[name](), timed, [1, 4])) == [0, 2, 3]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PopularInLast(events=0), "events is 0; popularity needs at least 1"),
        (lambda: PopularInDays(days=[0]), r"days is \[0\]; expected whole numbers of days, at least 1"),
        (lambda: Ials(factors=0), "factors is 0; expected at least 1"),
        (lambda: Ials(unobserved=0.0), r"unobserved is 0\.0; expected above 0"),
        (lambda: Ials(penalties=[]), r"penalties is \[\]; expected numbers above 0"),
        (lambda: Ease(ridges=[0.0]), r"ridges is \[0.0\]; expected numbers above 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(make: "object", message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()  # type: ignore[operator]


def test_popularity_looks_only_at_the_head_of_a_large_catalogue() -> None:
    videos = 1_000_000
    popular = SameForAll.by_counts("popular", np.arange(videos))
    users = users_of([[videos - 1, videos - 3], [5], []], [[0]] * 3, videos)
    assert popular.width(users, 3) == 5
    found = rank_floor(popular, users, 3)
    assert (videos + 1 - found.ids).tolist() == [[1, 3, 4], [0, 1, 2], [0, 1, 2]]


@pytest.mark.parametrize("floor", [Popular(), ItemKnn()])
def test_blocks_hold_as_many_users_as_their_bytes_allow(floor: floors.Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    past = past_of(WATCHED, 5)
    users = users_of([[0], [1, 2], [], [4], [0, 1]], [[3]] * 5, 5)
    whole, ready = rank_floor(floor.fit(past), users, 3), floor.fit(past)
    monkeypatch.setattr(fitted, "SCORE_BYTES", 2 * 4 * 5)
    blocks = list(fitted.floor_blocks(ready, users, 3))
    assert [len(block.ids) for block in blocks] == [2, 2, 1]
    assert np.concatenate([block.ids for block in blocks]).tolist() == whole.ids.tolist()
    monkeypatch.setattr(fitted, "SCORE_BYTES", 1)
    assert len(list(fitted.floor_blocks(ready, users, 3))) == 5
