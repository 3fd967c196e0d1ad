import gzip
from pathlib import Path

import pytest

from tests.data.conftest import Made, Table
from tests.data.test_csv_files import malformed, titles
from towers.data import LeaveOneOut
from towers.types import DataError


def test_lines_that_are_no_object_are_rejected_as_they_stand(
    tmp_path: Path, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [
        b'{"user_id": 1, "video_id": 1, "position": 0, "title": "a"}',
        b'{"user_id": 1, "video_id":',
        b"",
        b'[{"user_id": 1}]',
        b'{"user_id": 1, "video_id": 2, "position": "\xff\xfe"}',
        b'{"user_id": 1} {"user_id": 2}',
        b"null",
        b'  {"title": "b", "video_id": 3, "user_id": 1, "position": 1}',
        b"hello",
    ]
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines))
    dataset = made(str(tmp_path / "log.jsonl"), LeaveOneOut())
    assert [row[:3] for row in malformed(dataset)] == [
        ("log.jsonl", 2, "malformed JSON"),
        ("log.jsonl", 4, "no JSON object"),
        ("log.jsonl", 5, "not UTF-8"),
        ("log.jsonl", 6, "malformed JSON"),
        ("log.jsonl", 7, "no JSON object"),
        ("log.jsonl", 9, "malformed JSON"),
    ]
    assert [raw for *_, line, _, raw in malformed(dataset) if line != 5] == [
        lines[n - 1].decode() for n in (2, 4, 6, 7, 9)
    ]
    assert titles(dataset) == ["a", "b"]
    counts = dataset.manifest["events"]
    assert counts["rejected"] == {"malformed JSON": 3, "no JSON object": 2, "not UTF-8": 1}
    assert (counts["rows"], counts["kept"]) == (8, 2)
    assert "data.events: 6 lines are no rows, the first, line 2 of" in caplog.text


def test_every_file_counts_its_own_lines(tmp_path: Path, made: Made) -> None:
    (tmp_path / "log").mkdir()
    row = b'{"user_id": 1, "video_id": %d, "position": 0}\r\n'
    for number in (1, 2):
        content = row % number + b"\xff\r\n" * number + b"{\r\n" + row % (number + 2)
        (tmp_path / "log" / f"{number}.jsonl.gz").write_bytes(gzip.compress(content))
    (tmp_path / "log" / "0.jsonl").touch()
    dataset = made(str(tmp_path / "log"), LeaveOneOut())
    assert [(file, line) for file, line, reason, _ in malformed(dataset) if reason == "malformed JSON"] == [
        ("1.jsonl.gz", 3),
        ("2.jsonl.gz", 4),
    ]
    assert dataset.manifest["events"]["rejected"] == {"malformed JSON": 2, "not UTF-8": 3}
    assert sorted(dataset.videos.ids([2, 3, 4, 5])) == [1, 2, 3, 4]


def test_values_stay_as_they_are_written(tmp_path: Path, made: Made) -> None:
    (tmp_path / "log.jsonl").write_text(
        '{"user_id": "007", "video_id": 12345678901234567890123, "position": 0, "title": "\\u00e9\\"x\\"", "n": null}\n'
        '{"position": 1, "user_id": "007", "video_id": 5, "deep": {"a": [1, 2]}, "it\'s": 1}\n'
    )
    dataset = made(str(tmp_path / "log.jsonl"), LeaveOneOut())
    assert dataset.users.ids([2]) == ["007"]
    assert dataset.videos.ids([2, 3]) == ["12345678901234567890123", "5"]
    assert titles(dataset) == ['é"x"', None]
    assert dataset.manifest["labels"] == ["title", "n", "deep", "it's"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"data\.events=.*log\.jsonl is empty; expected one JSON object per line, such as {\"user_id\": 7"),
        ("\n \n", r"log\.jsonl is empty"),
        ('[{"user_id": 1,\n"video_id": 2}]', r"log\.jsonl begins with '\[{\"user_id\": 1,', and no line is an object"),
        ("{}\n{}\n", r"log\.jsonl begins with '{}', and no line is an object with a value; expected one JSON object"),
    ],
)
def test_a_file_without_any_object_says_what_it_holds(tmp_path: Path, made: Made, content: str, message: str) -> None:
    (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        made(str(tmp_path / "log.jsonl"))


def test_malformed_lines_of_a_table_of_videos_are_counted_with_it(tmp_path: Path, made: Made, table: Table) -> None:
    log = table("log", user_id=[1, 1], video_id=[1, 2], position=[0, 1])
    (tmp_path / "videos.jsonl").write_text('{"video_id": 1, "tag": "x"}\n{"video_id": 2, "tag": \n')
    dataset = made(log, LeaveOneOut(), videos=str(tmp_path / "videos.jsonl"))
    assert dataset.manifest["videos"]["rejected"] == {"malformed JSON": 1}


def test_names_that_differ_in_case_only_are_named(tmp_path: Path, made: Made) -> None:
    (tmp_path / "log.jsonl").write_text('{"user_id": 1, "video_id": 1, "position": 0, "Like": 1, "like": 0}\n')
    with pytest.raises(DataError, match=r"log\.jsonl has names that differ in case alone, such as 'like'; rename"):
        made(str(tmp_path / "log.jsonl"))
