import gzip
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.conftest import Made, Table
from towers.data import Dataset, LeaveOneOut
from towers.data.csv_files import load_csv
from towers.data.engine import Engine
from towers.data.lines import ERRORS
from towers.types import DataError

HEADER = "user_id,video_id,position,title"


def write(path: Path, *lines: str, header: str = HEADER) -> str:
    path.write_text("\n".join([header, *lines]) + "\n")
    return str(path)


def malformed(dataset: Dataset) -> list[tuple[str, int, str, str]]:
    """Return name, line number, reason and text of every line that was no row."""
    found = pq.read_table(dataset.folder / "rejected.parquet").to_pylist()
    assert all((row["line"] is None) == (row["source_row"] is not None) for row in found)
    return [
        (Path(row["file"]).name, row["line"], row["reason"], row["raw"]) for row in found if row["line"] is not None
    ]


def titles(dataset: Dataset) -> list[str]:
    return pq.read_table(dataset.folder / "events.parquet")["title"].to_pylist()


def test_lines_with_another_number_of_cells_are_rejected_as_they_stand(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    log = write(tmp_path / "log.csv", "1,1,0,a", "1,2", '1,2,1,"two\nlines"', "1,2,1,b,c,d", "", "1,3,2,c,", "1")
    dataset = made(log, LeaveOneOut())
    assert malformed(dataset) == [
        ("log.csv", 3, "too few cells", "1,2"),
        ("log.csv", 5, "too many cells", "1,2,1,b,c,d"),
        ("log.csv", 8, "too few cells", "1"),
    ]
    assert titles(dataset) == ["a", "two\nlines", "c"]
    counts = dataset.manifest["events"]
    assert counts["rejected"] == {"too few cells": 2, "too many cells": 1}
    assert (counts["rows"], counts["kept"]) == (6, 3)
    told = f"data.events: 3 lines are no rows, the first, line 3 of {log}: too few cells; they go to rejected.parquet"
    assert told in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_a_quote_that_is_never_closed_costs_its_own_line_only(tmp_path: Path, made: Made, suffix: str) -> None:
    lines = [
        "1,1,0,a",
        '1,2,1,"never closed',
        '1,3,2,"a ""b"", c"',
        "",
        "1,4",
        '1,5,3,"x"y',
        '1,6,4,5" tall',
        '1,7,5,""',
    ]
    path = tmp_path / f"log.{suffix}"
    path.write_bytes((gzip.compress if suffix.endswith("gz") else bytes)("\n".join([HEADER, *lines]).encode()))
    dataset = made(str(path), LeaveOneOut())
    assert malformed(dataset) == [
        (path.name, 3, "a quote that is not closed", lines[1]),
        (path.name, 6, "too few cells", "1,4"),
        (path.name, 7, "a quote that is not closed", lines[5]),
    ]
    assert titles(dataset) == ["a", 'a "b", c', '5" tall', None]


def test_bytes_that_are_no_utf_8_cost_their_line_only(tmp_path: Path, made: Made) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(HEADER.encode() + b"\n1,1,0,a\n1,2,1,\xff\xfe\n1,3,2,c\n1,4,3\n")
    dataset = made(str(path), LeaveOneOut())
    assert [row[:3] for row in malformed(dataset)] == [("log.csv", 3, "not UTF-8"), ("log.csv", 5, "too few cells")]
    path.write_bytes(path.read_bytes() + b'1,5,3,"open\n1,6,4,d\n\xff\n1,7\n')
    dataset = made(str(path), LeaveOneOut())
    assert [row[1:3] for row in malformed(dataset)] == [
        (3, "not UTF-8"),
        (5, "too few cells"),
        (6, "a quote that is not closed"),
        (8, "not UTF-8"),
        (9, "too few cells"),
    ]
    assert titles(dataset) == ["a", "c", "d"]


def test_malformed_lines_of_every_table_are_counted_with_it(tmp_path: Path, made: Made, table: Table) -> None:
    log = table("log", user_id=[1, 1], video_id=[1, 2], position=[0, 1])
    users = write(tmp_path / "users.csv", "1,30", "2", header="user_id,age")
    dataset = made(log, LeaveOneOut(), users=users)
    assert dataset.manifest["users"]["rejected"] == {"too few cells": 1}
    assert dataset.manifest["events"]["rejected"] == {}
    assert pq.read_table(dataset.folder / "rejected.parquet")["source"].to_pylist() == ["users"]


def test_nothing_but_malformed_lines(tmp_path: Path, made: Made) -> None:
    with pytest.raises(DataError, match=r"all 2 events of .* were rejected \(too few cells: 2\); none is left"):
        made(write(tmp_path / "log.csv", "1", "2"))


def test_files_of_several_headers_are_matched_by_name(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log").mkdir()
    one = write(tmp_path / "log" / "1.csv", "1,1,0,a", "1,2,1")
    two = write(tmp_path / "log" / "2.csv", "1;3;x;2", "3", header="user_id;video_id;title;position")
    (tmp_path / "log" / "3.csv").touch()
    write(tmp_path / "log" / "4.csv", "4,1,3", header="Video_ID,user_id,position")
    dataset = made(str(tmp_path / "log"), LeaveOneOut())
    assert titles(dataset) == ["a", "x", None]
    assert list(dataset.videos.ids(dataset.events(["video_row"])["video_row"])) == [1, 3, 4]
    assert [row[:3] for row in malformed(dataset)] == [("1.csv", 3, "too few cells"), ("2.csv", 3, "too few cells")]
    four = tmp_path / "log" / "4.csv"
    assert f"{four} has no column title, which {one} has; it is null there" in caplog.text
    write(Path(two), '1;"3;x;2', "1;5;y;4", header="user_id;video_id;title;position")
    assert titles(made(str(tmp_path / "log"), LeaveOneOut())) == ["a", None, "y"]


def test_headers_without_anything_in_common_are_named_with_both_files(tmp_path: Path, made: Made) -> None:
    (tmp_path / "log").mkdir()
    one = write(tmp_path / "log" / "1.csv", "1,1,0,a")
    two = write(tmp_path / "log" / "2.csv", header="7,8,9,x")
    message = f"{two} begins with 7, 8, 9, x and {one} with user_id, video_id, position, title, so they have no column"
    with pytest.raises(DataError, match=message):
        made(str(tmp_path / "log"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data\.events=.*log\.csv is empty; expected a header of column names, then a line per row"),
        (b"a,a\n1,2\n", r"log\.csv begins with the line 'a,a'; expected a header of column names that differ"),
        (b"a,A\n1,2\n", "that differ, not in case alone"),
        ("a,b\n1,2\n".encode("utf-16"), r"log\.csv is written in UTF-16; expected UTF-8; convert it"),
    ],
)
def test_a_file_that_is_no_csv_is_named(tmp_path: Path, made: Made, content: bytes, message: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        made(str(tmp_path / "log.csv"))


@pytest.mark.parametrize("content", [gzip.compress(b"a,b\n" * 99)[:-20], b"a,b\n1,2\n"], ids=["cut off", "not gz"])
def test_a_damaged_gz_file_is_named(tmp_path: Path, made: Made, content: bytes) -> None:
    (tmp_path / "log.csv.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"log\.csv\.gz"):
        made(str(tmp_path / "log.csv.gz"))


WORD = st.text("abc", min_size=1, max_size=5)
QUOTED = st.text('x,"\n', min_size=1, max_size=5).map(lambda text: '"' + text.replace('"', '""') + '"')
ROW = st.lists(WORD | QUOTED, min_size=1, max_size=5).map(",".join)
PLAIN = st.lists(WORD, min_size=1, max_size=5).map(",".join)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path, duckdb.connect())


def counted(engine: Engine, path: Path, lines: list[str], newline: str) -> tuple[int, int]:
    """Load lines below a header of three names; return how many are rows, and how many malformed."""
    path.write_bytes("\n".join(["one,two,three", *lines, ""]).replace("\n", newline).encode())
    for name in ("malformed", "raw_events"):
        engine.run("forget_table", name=name)
    engine.run("create_malformed")
    load_csv(engine, "raw_events", [path], "data.events=any.csv")
    ((rows,),) = engine.select("count_raw")
    return rows, sum(count for _, count in engine.select("count_malformed", source="events"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, max_size=30), newline=st.sampled_from(["\n", "\r\n"]))
def test_every_row_is_kept_or_malformed(tmp_path: Path, engine: Engine, rows: list[str], newline: str) -> None:
    whole = sum(_cells(row) == 3 for row in rows)
    assert counted(engine, tmp_path / "any.csv", rows, newline) == (whole, len(rows) - whole)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(PLAIN | st.just('k,"open'), max_size=30), newline=st.sampled_from(["\n", "\r\n"]))
def test_every_line_is_kept_or_malformed(tmp_path: Path, engine: Engine, lines: list[str], newline: str) -> None:
    whole = sum(_cells(line) == 3 for line in lines)
    assert counted(engine, tmp_path / "any.csv", lines, newline) == (whole, len(lines) - whole)


def test_no_line_is_lost_where_two_buffers_meet(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.data.csv_files.ERRORS", f"{ERRORS}, buffer_size = 500, max_line_size = 200")
    widths = [1 + (7 * n % 11 < 2) + 2 * (n % 13 > 0) for n in range(3000)]
    lines = [",".join(["word"[: 1 + n % 4]] * width) for n, width in enumerate(widths)]
    assert counted(engine, tmp_path / "any.csv", lines, "\n") == (widths.count(3), 3000 - widths.count(3))


def _cells(row: str) -> int:
    """Return one more than there are commas outside of quotes."""
    return 1 + sum(part.count(",") for part in row.split('"')[::2])
