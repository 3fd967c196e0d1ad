import sys
from typing import Any

import pytest

from benchmarks import startup
from benchmarks.quality import Cost
from benchmarks.record import Circumstances


def test_the_median_of_the_runs_after_one_to_warm_up_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = iter([Cost(9.0, 900.0), Cost(3.0, 30.0), Cost(1.0, 40.0), Cost(2.0, 20.0)])
    kept: list[tuple[list[dict[str, Any]], Circumstances]] = []
    monkeypatch.setattr(startup, "COMMANDS", {"nothing": [sys.executable, "-c", "pass"]})
    monkeypatch.setattr(startup, "spend", lambda _: next(costs))
    monkeypatch.setattr(startup, "record", lambda _, rows, how: kept.append((rows, how)))
    monkeypatch.setattr(sys, "argv", ["startup", "--runs", "3"])
    startup.main()
    ((rows, how),) = kept
    assert rows == [{"what": "nothing", "median_s": "2.00", "runs": 3}]
    assert (how.seconds, how.peak_mb) == (2.0, 40.0)
