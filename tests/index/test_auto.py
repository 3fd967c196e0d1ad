"""The choice and its reason."""

import logging

import numpy as np
import pytest

from towers.index import Auto
from towers.types import ConfigError, Geometry


def test_size_decides_and_the_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    vectors = np.random.default_rng(0).standard_normal((100, 4)).astype(np.float32)
    with caplog.at_level(logging.INFO):
        small = Auto(exact_below=100).build(vectors, np.arange(100), Geometry.dot)
        large = Auto(exact_below=99).build(vectors, np.arange(100), Geometry.dot)
    assert (small.kind, small.why) == ("exact", "exact: 100 videos are at most index.exact_below=100")
    assert (large.kind, large.why) == ("ivf", "ivf: 100 videos are more than index.exact_below=99")
    assert large.why in caplog.text


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"index.exact_below is -1"):
        Auto(exact_below=-1)
    with pytest.raises(ConfigError, match=r"index.reach is -1.0"):
        Auto(reach=-1.0)
