"""How far a mean over users could be off by chance: percentile bootstrap."""

import numpy as np
from jaxtyping import Float64

from towers.types import ConfigError, DataError

Figure = dict[str, float]
"""`{"value", "low", "high"}`: a mean over users and its 95% interval."""

LEVEL = 0.95
DRAWS_AT_ONCE = 4_000_000
"""Users drawn in one block, which bounds the memory."""


def intervals(values: Float64[np.ndarray, "q m"], draws: int, seed: int) -> list[Figure]:
    """Return the mean of each column with its 95% percentile-bootstrap interval over users, m figures.

    All columns are redrawn with the same users, so the interval of a column of differences is
    that of a paired comparison.

    Args:
        values: One row per user, one column per figure, [q, m].
        draws: Bootstrap samples; 200 give the interval's ends to about a tenth of its width.
        seed: Of the redrawing; the same seed gives the same interval.

    Raises:
        ConfigError: Fewer than 2 draws.
        DataError: No users, or a value that is not finite.

    Source:
        Efron and Tibshirani 1993, An Introduction to the Bootstrap, §13.3.

    Example:
        >>> intervals(np.array([[0.0], [1.0], [1.0], [0.0]]), draws=200, seed=0)
        [{'value': 0.5, 'low': 0.0, 'high': 1.0}]
    """
    if draws < 2:
        raise ConfigError(f"draws is {draws}; an interval needs at least 2, usually 200 to 1,000")
    if not len(values):
        raise DataError("no users to average over; leave the figure out")
    if not np.isfinite(values).all():
        raise DataError(f"{int((~np.isfinite(values)).sum())} per-user values are not finite; a metric is undefined")
    users = len(values)
    rng = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    step = max(1, DRAWS_AT_ONCE // users)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = rng.integers(0, users, (size, users)) + users * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * users).reshape(size, users)
        means[start : start + size] = counts @ values / users
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    # Each column by itself: a mean over rows of a table adds in another order and differs in the last digit.
    exact = [float(np.ascontiguousarray(column).mean()) for column in values.T]
    return [
        {"value": value, "low": float(min(a, value)), "high": float(max(b, value))}
        for value, a, b in zip(exact, low, high, strict=True)
    ]


def half_width(figure: Figure) -> float:
    """Return half the width of a figure's interval.

    Example:
        >>> half_width({"value": 0.5, "low": 0.25, "high": 0.75})
        0.25
    """
    return (figure["high"] - figure["low"]) / 2
