from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from towers.data import TIME_UNKNOWN, Positives
from towers.features import (
    Batch,
    BatchSource,
    Catalogue,
    FeatureTable,
    Hard,
    InBatch,
    Mixed,
    Pool,
    Popularity,
    Queued,
    Sampler,
    Step,
    Uniform,
)

# user 2 watched 5, 4, 3; user 3 watched 4, 6 at one moment; 7 is watched by nobody
OFFSETS, VIDEOS = np.array([0, 0, 0, 3, 5]), np.array([5, 4, 3, 4, 6], np.int32)
TIMES = np.array([TIME_UNKNOWN, 1000, 2000, 3000, 3000])


def source(sampler: Sampler, positions: int = 100, window: int = 4) -> BatchSource:
    positives = Positives(OFFSETS, VIDEOS, TIMES, np.array([1, 2, 3, 4, 5], np.float32))
    users, videos = (FeatureTable(np.arange(rows, dtype=np.int32)[:, None]) for rows in (4, 8))
    return BatchSource(positives, users, videos, np.arange(2, 8), sampler, window, positions, hardest=likes_all)


def likes_all(step: Step, askers: int, each: int, afresh: bool) -> np.ndarray:  # noqa: ARG001
    """Worse than any towers: what every user liked is ranked first for all."""
    return np.tile(np.arange(3, 3 + each), (min(askers, len(step.users)), 1))


def line_of(batch: Batch, user_row: int) -> int:
    return batch.users.codes[:, 0].tolist().index(user_row)


@pytest.mark.parametrize(
    "sampler",
    [
        Catalogue(),
        Uniform(count=2),
        Mixed(count=2),
        InBatch(),
        Popularity(count=3),
        Queued(count=2),
        Hard(count=2, each=4),
    ],
)
def test_a_batch_says_what_the_log_says(sampler: Sampler) -> None:
    (batch,) = source(sampler).epoch(0, 0)
    two, three = line_of(batch, 2), line_of(batch, 3)
    assert batch.rows[batch.target[two, :3]].tolist() == [5, 4, 3]
    assert batch.history[two, 0] == -1
    assert batch.rows[batch.history[two, 1:3]].tolist() == [5, 4]
    assert batch.weight[two, :3].tolist() == [1, 2, 3]
    assert batch.weight[three].tolist() == [4, 5, 0]
    assert batch.state[three, :2].tolist() == [0, 0]
    assert batch.videos.codes[:, 0].tolist() == batch.rows.tolist()
    assert batch.positions == 5
    known = {line: set(batch.rows[batch.known[line]].tolist()) for line in (two, three)}
    assert known[two] == {3, 4, 5} & set(batch.rows.tolist())
    assert known[three] == {4, 6} & set(batch.rows.tolist())


def test_a_target_is_asked_for_when_it_happened() -> None:
    (batch,) = source(Catalogue()).epoch(0, 0)
    two, three = batch.time_ms[line_of(batch, 2)], batch.time_ms[line_of(batch, 3)]
    assert two.tolist() == [TIME_UNKNOWN, 1000, 2000]
    assert three[2] == TIME_UNKNOWN


def test_a_video_that_is_only_history_is_no_candidate() -> None:
    positives = Positives(
        np.array([0, 0, 0, 5]), np.array([2, 3, 4, 5, 6], np.int32), np.full(5, TIME_UNKNOWN), np.ones(5, np.float32)
    )
    made = BatchSource(
        positives,
        FeatureTable(np.zeros((3, 0), np.int32)),
        FeatureTable(np.zeros((7, 0), np.int32)),
        np.arange(2, 7),
        Mixed(count=1),
        3,
        4,
    )
    batches = list(made.epoch(0, 0))
    later = next(b for b in batches if (b.weight == 0).any())
    only_history = set(later.rows[later.log_q == torch.inf].tolist())
    targets = set(later.rows[later.target[later.weight > 0]].tolist())
    assert only_history
    assert not only_history & targets


@pytest.mark.parametrize("sampler", [Queued(count=1, batches=3), Hard(count=1, each=4)])
def test_no_positive_of_a_user_is_held_against_them(sampler: Sampler) -> None:
    liked = {2: {3, 4, 5}, 3: {4, 6}}
    seen = set()
    for batch in source(sampler, positions=1, window=1).epoch(0, 0):
        user = int(batch.users.codes[0, 0])
        candidates = set(batch.rows[batch.log_q < torch.inf].tolist())
        against = set(batch.rows[(batch.log_q < torch.inf) & ~batch.known[0]].tolist())
        assert against == candidates - liked[user]
        seen |= candidates & liked[user]
    assert seen == {3, 4, 5, 6}


@dataclass(kw_only=True)
class Recording(Queued):
    """Keeps what it was told."""

    told: list[Step] = field(default_factory=list)

    def draw(self, step: Step, pool: Pool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        self.told.append(step)
        return super().draw(step, pool, rng)


def test_a_step_is_told_of_what_its_windows_read() -> None:
    sampler = Recording(count=1)
    list(source(sampler, positions=1, window=1).epoch(0, 0))
    told = sorted((step.users.tolist(), step.history.tolist(), step.targets.tolist()) for step in sampler.told)
    assert told == [([2], [[4]], [3]), ([2], [[5]], [5, 4]), ([3], [[4]], [4, 6])]
    assert [step.number for step in sampler.told] == [0, 1, 2]
    ragged = Recording(count=1)
    list(source(ragged).epoch(0, 0))
    assert sorted(ragged.told[0].history.tolist()) == [[4, 0], [5, 4]]


def test_the_queue_holds_the_targets_of_the_last_batches_of_the_epoch() -> None:
    for number in range(2):
        sampler = Recording(count=1, batches=2)
        list(source(sampler, positions=1, window=1).epoch(0, number))
        targets = [step.targets.tolist() for step in sampler.told]
        assert [step.earlier.tolist() for step in sampler.told] == [[], targets[0], targets[0] + targets[1]]
    longer = Recording(count=1, batches=1)
    list(source(longer, positions=1, window=1).epoch(0, 0))
    assert longer.told[2].earlier.tolist() == longer.told[1].targets.tolist()


def test_what_was_passed_over_counts_for_more_and_for_that_user_alone() -> None:
    # user 2 was shown 7 and 6, user 3 nothing; of these the draw has what the catalogue has
    shown = Positives(np.array([0, 0, 0, 2, 2]), np.array([7, 6], np.int32), TIMES[:2], np.ones(2, np.float32))
    (batch,) = replace(source(Catalogue()), passed=shown, passed_weight=3.0).epoch(0, 0)
    assert batch.bonus is not None
    counts = batch.bonus.exp()
    assert dict(zip(batch.rows.tolist(), counts[line_of(batch, 2)].tolist(), strict=True)) == pytest.approx({
        2: 1,
        3: 1,
        4: 1,
        5: 1,
        6: 3,
        7: 3,
    })
    assert (counts[line_of(batch, 3)] == 1).all()
    (plain,) = source(Catalogue()).epoch(0, 0)
    assert plain.bonus is None


@pytest.mark.parametrize(("each", "certain"), [(0, set()), (1, {6}), (2, {6, 7}), (9, {6, 7})])
def test_what_was_passed_over_last_is_among_the_candidates_for_certain(each: int, certain: set[int]) -> None:
    # 4 came after the cut for all that the draw knows; of one even draw from five each video has a probability of 1/5
    shown = Positives(np.array([0, 0, 0, 3, 3]), np.array([4, 7, 6], np.int32), TIMES[:3], np.ones(3, np.float32))
    eligible = np.array([2, 3, 5, 6, 7])
    made = replace(source(Uniform(count=1)), passed=shown, passed_each=each, eligible=eligible)
    for number in range(5):
        (batch,) = made.epoch(0, number)
        q = dict(zip(batch.rows.tolist(), batch.log_q.exp().tolist(), strict=True))
        assert {row for row in q if q[row] == 1} == certain
        assert {round(q[row], 6) for row in q if q[row] not in {1, np.inf}} <= {0.2}
        assert batch.bonus is None


def test_a_shuffled_epoch_has_every_users_events_in_another_order() -> None:
    made = replace(source(Catalogue()), shuffle=True)
    orders = set()
    for number in range(20):
        (batch,) = made.epoch(0, number)
        two = line_of(batch, 2)
        pairs = zip(batch.rows[batch.target[two, :3]].tolist(), batch.weight[two, :3].tolist(), strict=True)
        orders.add(tuple(pairs))
        assert (batch.time_ms == TIME_UNKNOWN).all()
    assert {tuple(sorted(order)) for order in orders} == {((3, 3.0), (4, 2.0), (5, 1.0))}
    assert len(orders) == 6


def test_an_epoch_has_every_event_once_and_repeats_with_its_number() -> None:
    made = source(Mixed(count=2), positions=3)
    first, again, second = (list(made.epoch(7, number)) for number in (0, 0, 1))
    assert sum(b.positions for b in first) == len(VIDEOS)
    assert made.length(7, 0) == len(first)
    assert all(
        torch.equal(a.rows, b.rows) and torch.equal(a.target, b.target) for a, b in zip(first, again, strict=True)
    )
    assert any(a.rows.tolist() != b.rows.tolist() for a, b in zip(first, second, strict=False))
