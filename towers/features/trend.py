"""How popular each video was known to be on each day: the past's counts, never the day's own."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from towers.data import TIME_UNKNOWN, Positives
from towers.types import DAY_MS, ConfigError

DAYS = 31
"""Of how many of the newest days a training is told the popularity; what happened before is told nothing of it."""
PRIOR = 0.15
"""Events for each video that are shared out as all the events before were; they stand in where little is recent."""


def tells_days(time_ms: Int64[np.ndarray, " n"]) -> bool:
    """Say whether times are known, and lie more than a day apart: else nothing can be learned of trends."""
    timed = time_ms[time_ms != TIME_UNKNOWN]
    return len(timed) > 0 and bool(timed.max() - timed.min() >= DAY_MS)


@dataclass(frozen=True)
class Trend:
    """The log of each video's share of recent views, as it stood when each day began.

    Recent views count by how long ago they were: half as much after a half-life. What a day brings
    is known only from the next day on, so that no event is explained by itself or by what followed.
    Events without a time count as older than all others.

    Attributes:
        begin_ms: When the first of the days begins, UTC; days are full days from there.
        levels: Log share of each video less its mean over the catalogue, [rows, days + 2]: column 0 is all 0 and
            stands for moments that nothing is known of, column i for day i, the last for what follows the events.

    Source:
        Zhang et al. 2021, Causal intervention for leveraging popularity bias in recommendation, section 3.3, for
        popularity by time as a part of the score.
    """

    begin_ms: int
    levels: Float32[np.ndarray, "rows days_2"]

    @classmethod
    def total(cls, positives: Positives, eligible: Int64[np.ndarray, " c"], rows: int) -> "Trend":
        """Return how popular videos are by all their views, at every moment the same: where no times are known.

        Example:
            >>> views = np.array([2, 2, 3], np.int32)
            >>> log = Positives(np.array([0, 0, 0, 3]), views, np.zeros(3, np.int64), np.ones(3, np.float32))
            >>> Trend.total(log, np.array([2, 3]), rows=4).now[2:].round(3).tolist()
            [0.20..., -0.20...]
        """
        level = np.log(np.bincount(positives.video_row, minlength=rows) + 1.0)
        level = (level - level[eligible].mean()).astype(np.float32)
        return cls(np.iinfo(np.int64).max, np.stack([level, level], axis=1))

    @classmethod
    def of(cls, positives: Positives, eligible: Int64[np.ndarray, " c"], rows: int, half_life_days: float) -> "Trend":
        """Return what was known of the popularity of videos before and after these events.

        Args:
            positives: The events.
            eligible: Rows of the videos that were there to be watched, [c].
            rows: Number of video rows.
            half_life_days: After how long a view counts half.

        Raises:
            ConfigError: The events have no times, or all within one day: nothing can be learned of trends.

        Example:
            >>> hours = np.array([0, 1, 2, 30]) * 3_600_000
            >>> views = np.array([2, 2, 2, 3], np.int32)
            >>> log = Positives(np.array([0, 0, 0, 4]), views, hours, np.ones(4, np.float32))
            >>> Trend.of(log, np.array([2, 3]), 4, half_life_days=1.0).levels[2:].round(3).tolist()
            [[0.0, 0.0, 1.99..., 0.21...], [0.0, 0.0, -1.99..., -0.21...]]
        """
        if not tells_days(positives.time_ms):
            raise ConfigError(
                "model.popularity is recent, but the training events have no times, or all lie within one day; "
                "set model.popularity=total, or none"
            )
        timed = positives.time_ms[positives.time_ms != TIME_UNKNOWN]
        begin = int(max(timed.min(), timed.max() + 1 - DAYS * DAY_MS))
        trend = cls(begin, np.zeros((rows, 0), np.float32))
        day = trend.day(positives.time_ms)
        recent, before = np.zeros(rows), np.bincount(positives.video_row[day == 0], minlength=rows).astype(np.float64)
        prior = PRIOR * len(eligible)
        levels = np.zeros((rows, day.max() + 2), np.float32)
        for number in range(1, levels.shape[1]):
            expected = (before + 1) / (before + 1)[eligible].sum()
            level = np.log((recent + prior * expected) / (recent[eligible].sum() + prior))
            levels[:, number] = level - level[eligible].mean()
            brought = np.bincount(positives.video_row[day == number], minlength=rows)
            recent = recent * 0.5 ** (1 / half_life_days) + brought
            before += brought
        return cls(begin, levels)

    def day(self, time_ms: Int64[np.ndarray, "*shape"]) -> Int64[np.ndarray, "*shape"]:
        """Return the column of `levels` known at each moment: 0 before the first day, and where it is unknown."""
        return np.where(time_ms < self.begin_ms, 0, (np.maximum(time_ms, self.begin_ms) - self.begin_ms) // DAY_MS + 1)

    @property
    def past(self) -> Float32[np.ndarray, "rows days_1"]:
        """The levels that training is told, [rows, days + 1]."""
        return self.levels[:, :-1]

    @property
    def now(self) -> Float32[np.ndarray, " rows"]:
        """The levels after all events, [rows]."""
        return self.levels[:, -1]
