"""Older events count for less."""

from dataclasses import replace

import numpy as np

from towers.data import TIME_UNKNOWN, Positives
from towers.types import DAY_MS, ConfigError


def aged(positives: Positives, half_life_days: float) -> Positives:
    """Return the positives with weights that fall by half from one half-life to the one before.

    An event without a time counts like the oldest that has one: logs lose times at their far end.

    Args:
        positives: The training events.
        half_life_days: Days after which an event counts half of what the newest counts, above 0.

    Raises:
        ConfigError: No event has a time.

    Source:
        Koren 2009, Collaborative Filtering with Temporal Dynamics, section 3, on instance weighting by decay; it warns
        that what is forgotten too fast is lost, so try half-lives about as long as the log.

    Example:
        >>> days = np.array([TIME_UNKNOWN, 0, 2, 4]) * np.array([1, DAY_MS, DAY_MS, DAY_MS])
        >>> log = Positives(np.array([0, 0, 0, 4]), np.arange(2, 6, dtype=np.int32), days, np.ones(4, np.float32))
        >>> aged(log, half_life_days=2.0).weight.tolist()
        [0.25, 0.25, 0.5, 1.0]
    """
    timed = positives.time_ms != TIME_UNKNOWN
    if not timed.any():
        raise ConfigError(f"half_life_days is {half_life_days}, but no training event has a time; leave it at 0")
    newest, oldest = positives.time_ms[timed].max(), positives.time_ms[timed].min()
    age = (newest - np.where(timed, positives.time_ms, oldest)) / (half_life_days * DAY_MS)
    return replace(positives, weight=(positives.weight * 0.5**age).astype(np.float32))
