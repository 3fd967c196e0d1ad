"""What every sampler promises."""

import numpy as np
import pytest

from towers.features import SAMPLERS, Hard, InBatch, Mixed, Pool, Popularity, Queued, Sampler, Step, Uniform

ROWS, TARGETS = 42, 9
ELIGIBLE = np.arange(2, 40)
"""The last two came after the cut."""
VARIANTS: dict[str, Sampler] = {
    "catalogue": SAMPLERS["catalogue"](),
    "uniform": Uniform(count=7),
    "uniform, more than there are": Uniform(count=1000),
    "inbatch": InBatch(),
    "popularity": Popularity(count=12),
    "popularity, more than there are": Popularity(count=100, power=1.0),
    "popularity, evenly": Popularity(count=12, power=0.0),
    "mixed": Mixed(count=7),
    "mixed, more than there are": Mixed(count=1000),
    "queued": Queued(count=7, batches=2),
    "hard": Hard(count=7, askers=2, each=3),
}
every_sampler = pytest.mark.parametrize("sampler", VARIANTS.values(), ids=list(VARIANTS))


def test_every_kind_is_tried() -> None:
    assert {type(sampler) for sampler in VARIANTS.values()} == set(SAMPLERS.values())


def share() -> np.ndarray:
    amounts = np.zeros(ROWS)
    amounts[2:] = 1 / np.arange(1, ROWS - 1)
    amounts[-3:] = 0
    return amounts / amounts.sum()


def ranked_first(step: Step, askers: int, each: int, afresh: bool) -> np.ndarray:  # noqa: ARG001
    """One list of rows for all, the last place of the second asker's empty."""
    lists = np.tile(np.array([3, 38, 20])[:each], (min(askers, len(step.users)), 1))
    lists[1:, -1] = -1
    return lists


POOL = Pool(share(), ELIGIBLE, ranked_first)


def asking(sampler: Sampler, rng: np.random.Generator) -> Step:
    return Step(
        number=sampler.memory,
        targets=rng.choice(ROWS, TARGETS, p=share()),
        earlier=rng.choice(ROWS, TARGETS * sampler.memory, p=share()),
        users=np.array([2, 3]),
        history=np.array([[5, 6], [7, 0]]),
    )


@every_sampler
def test_rows_are_distinct_sorted_real_videos(sampler: Sampler) -> None:
    rng = np.random.default_rng(0)
    rows, log_q = sampler.draw(asking(sampler, rng), POOL, rng)
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 2
    assert rows.max() <= ELIGIBLE[-1]
    assert log_q.shape == rows.shape
    assert (log_q <= 0).all()


@every_sampler
def test_log_q_is_how_often_a_video_is_drawn(sampler: Sampler) -> None:
    rng, draws = np.random.default_rng(1), 4000
    seen, told = np.zeros(ROWS), np.full(ROWS, np.nan)
    for _ in range(draws):
        rows, log_q = sampler.draw(asking(sampler, rng), POOL, rng)
        seen[rows] += 1
        told[rows] = np.exp(log_q)
    drawn = seen > 0
    spread = np.sqrt(np.maximum(told * (1 - told), 0) / draws)
    assert (np.abs(seen / draws - told)[drawn] <= 4.5 * spread[drawn] + 1e-9).all()


@every_sampler
def test_the_same_chance_gives_the_same_draw(sampler: Sampler) -> None:
    step = asking(sampler, np.random.default_rng(3))
    one, two = (sampler.draw(step, Pool(share(), ELIGIBLE, ranked_first), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
