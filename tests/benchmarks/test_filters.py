from pathlib import Path

import numpy as np
import pytest

from benchmarks import filters
from benchmarks.record import Circumstances, record
from benchmarks.vectors import LIKE, write_made
from towers.index import Exact
from towers.types import Geometry


def test_every_filter_is_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "EXCLUDED", (200, 10_000))
    made = write_made(tmp_path, LIKE["gowalla"], 4000, 8, users=25)
    searcher = Exact().build(made.videos, np.arange(4000), Geometry.cosine)
    rows = [{"videos": 4000, "dim": 8} | row for row in filters.rows(searcher, made)]
    named = [(row["filter"], row["share"], row["excluded"]) for row in rows]
    shares = ["1", "0.5", "0.1", "0.01", "0.001"]
    assert named == [
        *(("random", share, 0) for share in shares),
        *(("near each other", share, 0) for share in shares),
        ("excluded at random", "0.95", 200),
    ]
    # An exact search misses nothing, over-fetching does: too few of those it fetched are left.
    assert {(row["recall@100"], row["short"], row["unfiltered_recall"]) for row in rows} == {("1.0000", 0, "1.0000")}
    half = next(row for row in rows if row["filter"] == "near each other" and row["share"] == "0.5")
    assert float(str(half["over_fetch_recall"])) < 1
    assert float(str(half["over_fetch_short"])) > 0
    assert (rows[-1]["anew_p50_us"], rows[0]["list_p50_us"]) == ("", "")
    assert float(str(rows[-1]["list_p50_us"])) > 0
    record(
        "filters", rows, Circumstances(command="python -m benchmarks.filters", seed=0, seconds=1, peak_mb=1), tmp_path
    )
    filters.draw(tmp_path / "filters.png", tmp_path)
    assert (tmp_path / "filters.png").stat().st_size > 5000
