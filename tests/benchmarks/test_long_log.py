import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import long_log
from benchmarks.record import Circumstances


def test_a_log_goes_through_all_commands_and_each_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept: list[tuple[list[dict[str, Any]], Circumstances]] = []
    monkeypatch.setattr(long_log, "record", lambda _, rows, how: kept.append((rows, how)))
    monkeypatch.setattr(long_log, "AT_ONCE", 150)
    work = tmp_path / "work"
    words = ["long_log", "--users", "400", "--videos", "300", "--work", str(work)]
    monkeypatch.setattr(sys, "argv", words)
    long_log.main()
    sizes = {"users": 400, "videos": 300, "events": 20_000}
    assert [rows for rows, _ in kept] == [[{"what": f"towers {verb}", **sizes}] for verb in long_log.commands(work)]
    assert all(how.seconds > 0 and how.peak_mb > 50 for _, how in kept)
    told = json.loads((work / "dataset" / "manifest.json").read_text())
    assert (told["events"]["kept"], told["users"]["count"], told["videos"]["count"]) == (20_000, 400, 300)
    assert 0 < told["events"]["splits"]["valid"]["events"] < 20
    with pytest.raises(SystemExit):
        long_log.main()
    assert "is there, so not all would be measured" in capsys.readouterr().err
