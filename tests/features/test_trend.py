import numpy as np
import pytest

from towers.data import TIME_UNKNOWN, Positives
from towers.features import BatchSource, Catalogue, FeatureTable, Trend
from towers.features.trend import DAYS
from towers.types import DAY_MS, ConfigError

ROWS = 6
ELIGIBLE = np.arange(2, ROWS)


def log(views: list[tuple[int, float]]) -> Positives:
    """One user's events, as (video row, day) each; a day of nan is an unknown time."""
    days = [TIME_UNKNOWN if np.isnan(day) else int(day * DAY_MS) + 1 for _, day in views]
    rows = np.array([row for row, _ in views], np.int32)
    return Positives(np.array([0, 0, 0, len(views)]), rows, np.array(days), np.ones(len(views), np.float32))


def of(views: list[tuple[int, float]], half_life_days: float = 1.0) -> Trend:
    return Trend.of(log(views), ELIGIBLE, ROWS, half_life_days)


def test_a_day_knows_nothing_of_itself_nor_of_what_follows() -> None:
    views = [(2, 0.1), (3, 0.5), (2, 1.2), (4, 2.5), (3, 3.1)]
    other = [(2, 0.1), (3, 0.5), (2, 1.2), (5, 2.5), (5, 2.9), (2, 3.1)]
    assert np.array_equal(of(views).levels[:, :4], of(other).levels[:, :4])
    assert not np.array_equal(of(views).levels[:, 4], of(other).levels[:, 4])


def test_each_event_is_told_the_column_of_its_day() -> None:
    trend = of([(2, 0.0), (3, 2.0)])
    times = (np.array([[-0.5, 0.0, 0.9], [1.0, 2.5, 0.0]]) * DAY_MS).astype(np.int64) + trend.begin_ms
    times[1, 2] = TIME_UNKNOWN
    assert trend.day(times).tolist() == [[0, 1, 1], [2, 3, 0]]
    assert not trend.levels[:, 0].any()


def test_what_is_watched_more_and_later_stands_higher() -> None:
    now = of([(2, 0.1), (2, 0.2), (3, 2.1), (3, 2.2), (4, 2.3)]).now
    assert now[3] > now[4] > now[5]
    assert now[3] > now[2] > now[5]
    assert now[ELIGIBLE].mean() == pytest.approx(0, abs=1e-6)


def test_a_long_half_life_forgets_slowly() -> None:
    views = [(2, 0.1), (2, 0.2), (2, 0.3), (3, 5.1), (3, 5.2)]
    quick, slow = of(views, 0.5).now, of(views, 50.0).now
    assert quick[3] > quick[2]
    assert slow[2] > slow[3]


def test_events_without_a_time_are_older_than_all() -> None:
    trend = of([(2, np.nan), (2, np.nan), (3, 0.1), (4, 1.5)])
    assert trend.levels[2, 1] > trend.levels[3, 1] == trend.levels[5, 1]


def test_of_a_long_log_only_the_newest_days_are_told() -> None:
    views = [(2 + day % 4, day + 0.25) for day in range(400)]
    trend = of(views)
    assert trend.past.shape == (ROWS, DAYS + 1)
    day = trend.day(log(views).time_ms)
    assert day[: 400 - DAYS].max() == 0
    assert day[400 - DAYS :].tolist() == list(range(1, DAYS + 1))


@pytest.mark.parametrize("views", [[(2, np.nan), (3, np.nan)], [(2, 0.1), (3, 0.6)]])
def test_a_log_that_tells_no_days_apart_is_refused(views: list[tuple[int, float]]) -> None:
    with pytest.raises(ConfigError, match=r"model\.popularity is recent, but .*; set model\.popularity=total, or none"):
        of(views)


def test_a_batch_brings_the_levels_of_its_videos_and_the_days_of_its_targets() -> None:
    positives = log([(5, np.nan), (4, 0.1), (2, 2.5)])
    trend = Trend.of(positives, ELIGIBLE, ROWS, 1.0)
    users, videos = FeatureTable(np.zeros((3, 0), np.int32)), FeatureTable(np.zeros((ROWS, 0), np.int32))
    source = BatchSource(positives, users, videos, ELIGIBLE, Catalogue(), 4, 100, trend=trend)
    (batch,) = source.epoch(0, 0)
    assert batch.day is not None
    assert batch.levels is not None
    assert batch.day.tolist() == [[0, 1, 3]]
    assert np.array_equal(batch.levels.numpy(), trend.past[batch.rows.numpy()])
