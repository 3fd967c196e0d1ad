from pathlib import Path

import pytest

from benchmarks import demo
from benchmarks.quality import Cost


def test_a_demo_that_is_there_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
    (tmp_path / "runs" / "demo").mkdir(parents=True)
    with pytest.raises(SystemExit, match="runs/demo is there, so the demo would go on with it; remove it first"):
        demo.main()


def test_what_the_script_took_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(demo, "CHECKOUT", tmp_path)
    monkeypatch.setattr(demo, "spend", lambda command: Cost(12.5, 900.0) if command[1].endswith("run.sh") else None)
    monkeypatch.setattr(demo, "record", lambda name, rows, how: kept.append((name, rows, how.seconds, how.peak_mb)))
    demo.main()
    assert kept == [("demo", [{"what": "scripts/run.sh, environment there"}], 12.5, 900.0)]
