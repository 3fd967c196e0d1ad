import sys

import numpy as np
import pytest

from benchmarks import record as recorder
from benchmarks import scale


def test_the_made_up_log_has_what_it_says() -> None:
    users = scale.made_up(30, 500, np.random.default_rng(0))
    assert (len(users), users.catalogue) == (30, 500)
    assert np.diff(users.history_offsets).tolist() == [scale.PAST] * 30
    assert np.diff(users.truth_offsets).tolist() == [scale.SOUGHT] * 30
    assert users.history.min() >= 2
    assert users.history.max() <= 501


def test_only_the_asked_for_blocks_are_ranked_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(scale, "record", lambda name, rows, how: kept.append((name, rows[0], how)))
    monkeypatch.setattr(sys, "argv", ["scale", "--users", "5000", "--videos", "300", "--dim", "4", "--blocks", "2"])
    scale.main()
    ((name, row, how),) = kept
    assert (name, row["users"], row["videos"], row["ranked"]) == ("evaluation", 5000, 300, 2048)
    assert how.seconds > 0
    assert isinstance(how, recorder.Circumstances)
