from pathlib import Path

import pytest

from benchmarks.requests import PARTS, draw, in_batches, made, one_by_one, rows_of
from benchmarks.user_tower import fastest, measured


def test_shares_are_of_the_whole_and_the_whole_is_told_beside_what_must_be() -> None:
    case = made(videos=60, excluded=3, users=70, dim=8, window=4)
    spent = dict(zip(PARTS, ([6.0], [10.0, 20.0, 30.0], [15.0], [5.0], [4.0], [6.0]), strict=True))
    rows = rows_of(case, 1, spent, [50.0, 60.0, 40.0])
    assert [row["part"] for row in rows] == ["whole", *PARTS]
    assert (rows[0]["p50_us"], rows[0]["per_second"], rows[0]["over_raw"]) == ("50.0", "20000", "1.250")
    shares = {row["part"]: (row["p50_us"], row["share"]) for row in rows}
    assert shares["tower"] == ("20.0", "0.400")
    assert rows[0]["videos"] == 60


def test_every_request_of_a_case_is_answered_and_drawn(tmp_path: Path) -> None:
    case = made(videos=300, excluded=5, users=70, dim=8, window=4)
    found = case.retriever.candidates(case.users[0], k=300, exclude=case.exclude)
    assert len(found) == 300 - 5 - 4
    assert "4 are seen and 5 excluded" in found.short_because
    spent, whole = one_by_one(case, 6)
    assert set(spent) == set(PARTS)
    assert [len(spent[part]) for part in PARTS] == [6, 6, 6, 1, 6, 6]
    assert len(whole) == 6
    assert min(whole) > 0
    assert len(in_batches(case, 2)) == 2
    draw({"some": rows_of(case, 1, spent, whole)}, tmp_path / "some.png")
    assert (tmp_path / "some.png").stat().st_size > 5000


def test_the_tower_is_measured_beside_torch() -> None:
    row = measured("mean", window=3, users=2, turns=1, turn_s=0.001)
    assert float(str(row["apart"])) < 1e-6
    assert float(str(row["torch_us_a_user"])) > 0


def test_the_fastest_turn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 9.0, 9.0, 14.0, 14.0, 20.0, 22.0, 22.0])
    monkeypatch.setattr("benchmarks.user_tower.time.process_time", lambda: next(clock))
    assert fastest({"only": lambda: None}, turns=2, turn_s=1.0) == {"only": 2e6}
