"""What every sampler promises."""

import numpy as np
import pytest

from towers.features import SAMPLERS, Mixed, Sampler, Uniform

ROWS = 42
ELIGIBLE = np.arange(2, 40)
"""The last two came after the cut."""
every_sampler = pytest.mark.parametrize(
    "sampler",
    [SAMPLERS["catalogue"](), Uniform(count=7), Uniform(count=1000), Mixed(count=7), Mixed(count=1000)],
    ids=["catalogue", "uniform", "uniform, more than there are", "mixed", "mixed, more than there are"],
)


def share() -> np.ndarray:
    amounts = np.zeros(ROWS)
    amounts[2:] = 1 / np.arange(1, ROWS - 1)
    amounts[-3:] = 0
    return amounts / amounts.sum()


@every_sampler
def test_rows_are_distinct_sorted_real_videos(sampler: Sampler) -> None:
    rng = np.random.default_rng(0)
    rows, log_q = sampler.draw(rng.choice(ROWS, 9, p=share()), share(), ELIGIBLE, rng)
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
        rows, log_q = sampler.draw(rng.choice(ROWS, 9, p=share()), share(), ELIGIBLE, rng)
        seen[rows] += 1
        told[rows] = np.exp(log_q)
    drawn = seen > 0
    spread = np.sqrt(np.maximum(told * (1 - told), 0) / draws)
    assert (np.abs(seen / draws - told)[drawn] <= 4.5 * spread[drawn] + 1e-9).all()


@every_sampler
def test_the_same_chance_gives_the_same_draw(sampler: Sampler) -> None:
    one, two = (sampler.draw(np.array([3, 4]), share(), ELIGIBLE, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
    assert np.array_equal(one[1], two[1])
