import sys
from pathlib import Path

import pytest

from benchmarks import step_profile, training
from towers.features import Mixed


def test_the_shares_of_a_step_are_drawn_and_add_up_to_one(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[dict[str, float]] = []
    whole = step_profile.draw

    def draw(found: dict[str, float], title: str, to: Path) -> None:
        drawn.append(found)
        whole(found, title, to)

    monkeypatch.setattr(step_profile, "draw", draw)
    monkeypatch.setattr(step_profile, "CHECKOUT", tmp_path)
    monkeypatch.setitem(training.SETTINGS, "kuairand", (5, 32, Mixed()))
    (tmp_path / "benchmarks").mkdir()
    words = ["step_profile", "kuairand", "--dataset", str(tiny_dataset), "--dim", "8", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", words)
    step_profile.main()
    assert (tmp_path / "benchmarks" / "profile-kuairand-gated.png").stat().st_size > 1000
    assert sum(drawn[0].values()) == pytest.approx(1)
    assert any(name.startswith(step_profile.PRODUCTS) for name in drawn[0])
    assert list(drawn[0].values()) == sorted(drawn[0].values(), reverse=True)
