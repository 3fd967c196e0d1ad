import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import T0, Made, Table, rejects
from towers.data import Columns, Ids, LeaveOneOut, Repeats, TimeUnit
from towers.types import DataError


@pytest.fixture
def dirty(tmp_path: Path) -> tuple[Path, list[str]]:
    """A CSV log with one row of every flaw, between good rows."""
    rows = [
        "user_id,video_id,time_ms,watch_ms",
        *(f"{user},{video},{T0 + user * 10 + video},5" for user in (1, 2) for video in (1, 2, 3)),
        f",1,{T0},5",
        f"3,,{T0},5",
        f"three,1,{T0},5",
        "3,1,yesterday,5",
        "3,1,,5",
        "3,1,-7,5",
        "3,1,9999999999999,5",
        f"3,1,{T0},a lot",
        f"99999999999999999999,1,{T0},5",
        f"1,1,{T0 + 11},5",
    ]
    path = tmp_path / "dirty.csv"
    path.write_text("\n".join(rows) + "\n")
    return path, rows[1:]


def test_every_row_is_kept_rejected_or_a_duplicate(dirty: tuple[Path, list[str]], made: Made) -> None:
    path, rows = dirty
    dataset = made(str(path), ids=Ids.int64)
    counts = dataset.manifest["events"]
    assert counts["rejected"] == {
        "null time_ms": 1,
        "null user_id": 1,
        "null video_id": 1,
        "time_ms outside the window": 2,
        "unparsable time_ms": 1,
        "unparsable user_id": 2,
        "unparsable watch_ms": 1,
    }
    assert (counts["rows"], counts["kept"], counts["duplicates"]) == (len(rows), 6, 1)
    assert counts["rows"] == counts["kept"] + counts["duplicates"] + sum(counts["rejected"].values())
    assert len(dataset.positives()) == 6


def test_rejected_rows_are_kept_as_they_came(dirty: tuple[Path, list[str]], made: Made) -> None:
    path, rows = dirty
    dataset = made(str(path), ids=Ids.int64)
    found = pq.read_table(dataset.folder / "rejected.parquet").to_pylist()
    assert [row["source_row"] for row in found] == list(range(7, 16))
    for row in found:
        cells = json.loads(row["raw"])
        assert ",".join(cells[name] or "" for name in cells) == rows[row["source_row"] - 1]


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (None, "weight is null"),
        (math.nan, "gain is NaN"),
        (math.inf, "weight is infinite"),
        (-1.0, "weight is negative"),
    ],
)
def test_a_positive_needs_a_weight_that_makes_sense(
    table: Table, made: Made, weight: float | None, reason: str
) -> None:
    columns = {"user_id": [1, 1, 1], "video_id": [1, 2, 3], "position": [0, 1, 2], "split": ["train"] * 3}
    log = table("log", **columns, gain=[1.0, weight, 2.5], seen=[1, 1, 1])
    dataset = made(log, weight="gain")
    assert rejects(dataset) == [("events", 2, reason)]
    assert dataset.positives().weight.tolist() == [1.0, 2.5]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_nan_is_above_no_number(table: Table, made: Made, kind: type[np.floating[Any]]) -> None:
    columns = {"user_id": [1, 1, 1], "video_id": [1, 2, 3], "position": [0, 1, 2], "split": ["train"] * 3}
    log = table("log", **columns, watch_ms=np.array([5, math.nan, 1], kind), length=[4.0, 4.0, math.nan])
    dataset = made(log, positive="Watch_MS > 2 AND position >= 0")
    assert rejects(dataset) == [("events", 2, "watch_ms is NaN")]
    assert dataset.events(["positive"])["positive"].tolist() == [True, False]
    spaced = table("spaced", **columns, **{"how long": [1.0, 2.0, math.nan]})
    assert rejects(made(spaced, positive='"how long" > 0')) == [("events", 3, "how long is NaN")]
    weighed = made(log, positive="position < 3", weight="least(watch_ms / length, 1)")
    assert rejects(weighed) == [("events", 2, "watch_ms is NaN"), ("events", 3, "length is NaN")]


def test_the_weight_of_what_is_not_positive_does_not_matter(table: Table, made: Made) -> None:
    columns = {"user_id": [1, 1], "video_id": [1, 2], "position": [0, 1], "split": ["train"] * 2}
    dataset = made(
        table("log", **columns, watch_ms=[8, 0], length=[4, 0]), positive="watch_ms > 0", weight="watch_ms / length"
    )
    assert dataset.events(["weight"])["weight"].tolist() == [2.0, 0.0]
    assert rejects(dataset) == []


def test_a_condition_that_breaks_on_one_row_rejects_that_row(table: Table, made: Made) -> None:
    columns = {"user_id": [1, 1], "video_id": [1, 2], "position": [0, 1], "split": ["train"] * 2}
    dataset = made(table("log", **columns, level=["3", "high"]), positive="CAST(level AS INTEGER) > 2")
    assert rejects(dataset) == [("events", 2, "data.positive cannot be computed")]


def test_a_null_label_makes_no_positive(table: Table, made: Made) -> None:
    columns = {"user_id": [1, 1], "video_id": [1, 2], "position": [0, 1], "split": ["train"] * 2}
    dataset = made(table("log", **columns, long_view=[1, None]), positive="long_view = 1")
    assert dataset.events(["positive"])["positive"].tolist() == [True, False]


def test_a_window_rejects_what_lies_outside(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1, 1], video_id=[1, 2, 3], time_ms=[T0 - 1, T0, T0 + 1000], split=["train"] * 3)
    dataset = made(log, since=str(T0), until="2022-04-15T05:20:00.999Z")
    assert rejects(dataset) == [
        ("events", 1, "time_ms outside the window"),
        ("events", 3, "time_ms outside the window"),
    ]


def test_an_unknown_time_is_allowed_where_a_position_gives_the_order(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1, 1], video_id=[1, 2, 3], time_ms=[None, T0, None], position=[1, None, None])
    assert rejects(made(log)) == [("events", 3, "null time_ms and position")]


def test_an_empty_log(table: Table, made: Made) -> None:
    log = table("log", user_id=np.zeros(0, np.int64), video_id=np.zeros(0, np.int64), time_ms=np.zeros(0, np.int64))
    with pytest.raises(DataError, match=r"data\.events=.*log\.parquet holds 0 events; give a log with at least one"):
        made(log)


def test_nothing_but_rejected_rows(table: Table, made: Made) -> None:
    log = table("log", user_id=[None, 1], video_id=[1, None], time_ms=[T0, T0])
    with pytest.raises(DataError, match=r"all 2 events .* were rejected \(null user_id: 1, null video_id: 1\)"):
        made(log)


def test_texts_that_were_to_be_whole_numbers(table: Table, made: Made) -> None:
    log = table("log", user_id=["a", "b"], video_id=[1, 2], time_ms=[T0, T0])
    with pytest.raises(
        DataError, match=r"unparsable user_id: 2\); none is left to learn from; data\.ids=int64 takes ids"
    ):
        made(log, ids=Ids.int64)


def test_no_positives(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], time_ms=[T0, T0 + 1], watch_ms=[3, 4])
    with pytest.raises(
        DataError, match=r"data\.positive='watch_ms > 10' holds for 0 of 2 events; .* user_id, video_id"
    ):
        made(log, positive="watch_ms > 10")


@pytest.mark.parametrize(
    ("option", "expression", "reason"),
    [
        ("positive", "long_veiw = 1", "no column 'long_veiw'; the nearest are long_view"),
        ("positive", "long_view = = 1", "syntax error"),
        ("weight", "nosuch(long_view)", "nosuch"),
    ],
)
def test_an_expression_that_does_not_work_shows_the_reason(
    table: Table, made: Made, option: str, expression: str, reason: str
) -> None:
    log = table("log", user_id=[1], video_id=[1], time_ms=[T0], long_view=[1])
    with pytest.raises(DataError, match=rf"data\.{option}='.*' does not work on user_id, video_id.*{reason}"):
        made(log, **{option: expression})


@pytest.mark.parametrize(
    ("scale", "told", "meant"),
    [
        (1e-3, TimeUnit.ms, "s"),
        (1e3, TimeUnit.ms, "us"),
        (1, TimeUnit.us, "ms"),
        (1, TimeUnit.s, "ms"),
        (1e-3, TimeUnit.us, "s"),
    ],
)
def test_times_in_another_unit_are_recognised(
    table: Table, made: Made, scale: float, told: TimeUnit, meant: str
) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], when=[int(T0 * scale), int((T0 + 5000) * scale)])
    message = rf"'when', read as {told.name}, holds times from \d+ to \d+ ms since 1970;.*set data\.time_unit={meant}"
    with pytest.raises(DataError, match=message):
        made(log, columns=Columns(time_ms="when"), time_unit=told)


@pytest.mark.parametrize("unit", list(TimeUnit))
def test_every_unit_is_read_as_ms(table: Table, made: Made, unit: TimeUnit) -> None:
    scale = {TimeUnit.ms: 1, TimeUnit.s: 1e-3, TimeUnit.us: 1e3}[unit]
    whole = table("whole", user_id=[1], video_id=[1], time_ms=[int(T0 * scale)], split=["train"])
    assert made(whole, time_unit=unit).events(["time_ms"])["time_ms"].tolist() == [T0]
    broken = table("broken", user_id=[1], video_id=[1], time_ms=[(T0 + 5) * scale], split=["train"])
    assert made(broken, time_unit=unit).events(["time_ms"])["time_ms"].tolist() == [T0 + 5]


@pytest.mark.parametrize(("early", "told"), [(1, True), (0, False)])
def test_a_few_times_in_another_unit_are_warned_of(
    table: Table, made: Made, early: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    times = [T0, T0 + 1, T0 + 2, (T0 + 3) // 1000 if early else T0 + 3]
    made(table("log", user_id=[1, 1, 2, 2], video_id=[1, 2, 1, 2], time_ms=times, split=["train"] * 4))
    assert ("1 of 4 times in 'time_ms', read as ms, lie before 1973 or far beyond 2100:" in caplog.text) is told
    assert ("they may be in another unit" in caplog.text) is told


def test_two_units_in_one_column_are_told_as_such(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1, 2], video_id=[1, 2, 1], time_ms=[T0 // 1000, T0 // 1000 + 1, T0])
    with pytest.raises(DataError, match=r"time_unit=s; 1 of its 3 times do not: where it holds two units, mend it"):
        made(log)
    three = table("three", user_id=[1, 1, 2], video_id=[1, 2, 1], time_ms=[T0 // 1000, T0 // 1000 + 1, T0 * 1000])
    with pytest.raises(DataError, match=r"time_unit=s; 1 of its 3 times do not"):
        made(three)
    missing = table("missing", user_id=[1, 1, 2], video_id=[1, 2, 1], time_ms=[T0 // 1000, T0 // 1000 + 1, 0])
    with pytest.raises(DataError, match=r"set data\.time_unit=s$"):
        made(missing)


@pytest.mark.parametrize(("bad", "told"), [(2, True), (1, False)])
def test_many_rejected_events_are_warned_of(
    table: Table, made: Made, bad: int, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [None] * bad + list(range(30 - bad))
    made(table("log", user_id=ids, video_id=[1] * 30, position=[0] * 30), LeaveOneOut())
    assert ("of 30 events were rejected; rejected.parquet has each with its reason" in caplog.text) is told


@pytest.mark.parametrize("repeats", list(Repeats))
def test_positives_of_videos_watched_again_are_told(
    table: Table, made: Made, repeats: Repeats, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log = table("log", user_id=[1, 1, 1, 2], video_id=[1, 2, 1, 1], position=[0, 1, 2, 0])
    assert made(log, LeaveOneOut(), repeats=repeats).repeats == repeats.value
    assert ("1 of 4 positives are of videos watched again" in caplog.text) is (repeats is Repeats.first)
    assert ("data=files counts them with data.repeats=all" in caplog.text) is (repeats is Repeats.first)
