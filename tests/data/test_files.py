import csv
import gzip
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import T0, Made, Table, rejects
from towers.data import Columns, Dataset, Files, Ids, Kind, LeaveOneOut
from towers.types import ConfigError, DataError

ROWS = [
    {"who": user, "what": video, "when": T0 + 100 * place + video, "long_view": video % 2}
    for place, user in enumerate((2**53, 2**53 + 1, 7))
    for video in range(1, 6)
]
COLUMNS = Columns(user_id="who", video_id="what", time_ms="when")


def write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "wt", newline="") as file:
        if ".csv" in path.suffixes:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        else:
            file.writelines(json.dumps(row) + "\n" for row in rows)


def contents(dataset: Dataset) -> list[tuple[object, ...]]:
    """Everything that a dataset says of its events, in ids."""
    events = dataset.events(["user_row", "video_row", "time_ms", "split", "positive", "long_view"])
    users, videos = dataset.users.ids(events["user_row"]), dataset.videos.ids(events["video_row"])
    return [
        *zip(users, videos, *(events[n].tolist() for n in ("time_ms", "split", "positive", "long_view")), strict=True)
    ]


@pytest.fixture
def expected(tmp_path: Path, made: Made) -> list[tuple[object, ...]]:
    write(tmp_path / "reference.parquet", ROWS)
    return contents(
        made(str(tmp_path / "reference.parquet"), columns=COLUMNS, positive="long_view = 1", name="reference")
    )


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.csv.gz", "log.jsonl", "log.ndjson.gz"])
def test_every_format_gives_the_same_dataset(
    tmp_path: Path, made: Made, expected: list[tuple[object, ...]], name: str
) -> None:
    write(tmp_path / name, ROWS)
    assert contents(made(str(tmp_path / name), columns=COLUMNS, positive="long_view = 1")) == expected


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
@pytest.mark.parametrize("place", ["parts", "parts/**/part-*.{suffix}"])
def test_a_folder_and_a_glob_are_one_table(
    tmp_path: Path, made: Made, expected: list[tuple[object, ...]], place: str, suffix: str
) -> None:
    (tmp_path / "parts" / "day=1").mkdir(parents=True)
    write(tmp_path / "parts" / f"part-0.{suffix}", ROWS[:4])
    write(tmp_path / "parts" / "day=1" / f"part-1.{suffix}", ROWS[4:])
    (tmp_path / "parts" / "_SUCCESS").touch()
    place = str(tmp_path / place.format(suffix=suffix))
    assert contents(made(place, columns=COLUMNS, positive="long_view = 1")) == expected


def test_ids_above_2_to_the_53_stay_apart(expected: list[tuple[object, ...]]) -> None:
    assert {user for user, *_ in expected} == {2**53, 2**53 + 1, 7}


@pytest.mark.parametrize("name", ["log.parquet", "log.csv", "log.jsonl"])
def test_ids_can_be_strings(tmp_path: Path, made: Made, name: str) -> None:
    rows = [{"user_id": f"u-{n % 2}", "video_id": f"v {n}", "position": n} for n in range(6)]
    write(tmp_path / name, rows)
    dataset = made(str(tmp_path / name), LeaveOneOut())
    assert dataset.users.ids([2, 3]) == ["u-0", "u-1"]
    assert dataset.videos.ids(dataset.positives().of(2)) == ["v 0", "v 2", "v 4"]


def test_ids_that_look_like_numbers_can_stay_strings(tmp_path: Path, made: Made) -> None:
    write(
        tmp_path / "log.csv",
        [{"user_id": "007", "video_id": "1", "position": 0}, {"user_id": "7", "video_id": "1", "position": 0}],
    )
    assert made(str(tmp_path / "log.csv"), LeaveOneOut()).users.ids([2, 3]) == ["007", "7"]
    assert list(made(str(tmp_path / "log.csv"), LeaveOneOut(), ids=Ids.int64).users.ids([2])) == [7]
    assert made(str(tmp_path / "log.csv"), LeaveOneOut(), ids=Ids.string).videos.ids([2]) == ["1"]


def test_whole_numbers_stored_as_fractions_are_integers(table: Table, made: Made) -> None:
    log = table("log", user_id=[1.0, 2.0, 2.5, 2.0**53], video_id=[1, 2, 3, 4], position=[0] * 4)
    dataset = made(log, LeaveOneOut())
    assert list(dataset.users.ids([2, 3])) == [1, 2]
    assert rejects(dataset) == [("events", 3, "unparsable user_id"), ("events", 4, "unparsable user_id")]


def test_ids_of_two_sorts_are_refused_with_both(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], position=[0, 0])
    users = table("users", user_id=["1", "2"])
    message = r"user ids are int64 in data\.events=.* but string in data\.users=.*; set data\.ids=string"
    with pytest.raises(DataError, match=message):
        made(log, LeaveOneOut(), users=users)
    assert made(log, LeaveOneOut(), users=users, ids=Ids.string).users.ids([2]) == ["1"]


def test_timestamps_are_read_in_utc(table: Table, made: Made) -> None:
    moment = datetime(2022, 4, 15, 5, 20, tzinfo=UTC)
    china = moment.astimezone(timezone(timedelta(hours=8)))
    for number, when in enumerate((
        [moment.replace(tzinfo=None)],
        pa.array([china], pa.timestamp("us", "Asia/Shanghai")),
    )):
        log = table(f"log{number}", user_id=[1], video_id=[1], time_ms=when, split=["train"])
        assert made(log).events(["time_ms"])["time_ms"].tolist() == [T0]


@pytest.mark.parametrize("text", ["2022-04-15 05:20:00", "2022-04-15T05:20:00Z", "2022-04-15T13:20:00+08:00"])
@pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
def test_timestamps_as_text_are_read_in_utc(tmp_path: Path, made: Made, name: str, text: str) -> None:
    write(tmp_path / name, [{"user_id": 1, "video_id": 1, "time_ms": text, "split": "train"}])
    assert made(str(tmp_path / name)).events(["time_ms"])["time_ms"].tolist() == [T0]


def test_a_missing_column_is_answered_with_the_nearest(table: Table, made: Made) -> None:
    log = table("log", user_id=[1], videoid=[1], time_ms=[T0])
    message = (
        r"has no column 'video_id'; did you mean 'videoid'\? it has user_id, videoid, time_ms; .*\.video_id=COLUMN"
    )
    with pytest.raises(DataError, match=message):
        made(log)


def test_a_mapped_column_must_exist(table: Table, made: Made) -> None:
    log = table("log", user_id=[1], video_id=[1], time_ms=[T0])
    with pytest.raises(
        DataError, match=r"has no column 'ts'; it has user_id, video_id, time_ms; set data\.columns\.time_ms"
    ):
        made(log, columns=Columns(time_ms="ts"))


def test_a_log_without_any_order(table: Table, made: Made) -> None:
    with pytest.raises(
        DataError, match=r"neither time_ms nor position.*time_ms=COLUMN, or.*position=COLUMN.*cut=leave_one_out$"
    ):
        made(table("log", user_id=[1], video_id=[1]))


def test_labels_are_all_other_columns_or_those_asked_for(table: Table, made: Made) -> None:
    columns = {"user_id": [1], "video_id": [1], "position": [0], "split": ["train"]}
    log = table("log", **columns, weight=[0.5], like=[1], watch_ms=[9])
    dataset = made(log)
    assert dataset.manifest["labels"] == ["like", "watch_ms"]
    assert dataset.positives().weight.tolist() == [1.0]
    assert made(log, labels=["like"], weight="weight").manifest["labels"] == ["like"]
    with pytest.raises(ConfigError, match=r"data\.labels holds 'weight', which a dataset writes itself"):
        made(log, labels=["weight"])


def test_features_are_inferred_or_declared_and_reported(
    table: Table, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log = table("log", user_id=[1, 2], video_id=[1, 2], position=[0, 0])
    videos = table(
        "videos",
        video_id=[1, 2, 3],
        author_id=[5, 5, 6],
        length=[1.5, 2.5, None],
        tags=[["a", "b"], ["b"], None],
        genres=["x|y", "y", ""],
        content=pa.array([[1.0, 0.0], [0.0, 1.0], None], pa.list_(pa.float32())),
        day=[datetime(2022, 4, 15, 12, tzinfo=UTC)] * 3,
        secret=pa.array([b"1", b"2", b"3"]),
        is_ad=[True, False, None],
        age=[1, 2, 3],
    )
    dataset = made(
        log,
        LeaveOneOut(),
        videos=videos,
        video_features={"genres": Kind.multi, "age": Kind.numeric},
        separator="|",
        min_count=1,
    )
    kinds = {encoder.name: encoder.kind.name for encoder in dataset.encoders.videos}
    assert kinds == {
        "author_id": "categorical", "length": "numeric", "tags": "multi", "genres": "multi", "content": "vector",
        "day": "numeric", "is_ad": "categorical", "age": "numeric",
    }  # fmt: skip
    encoders = {encoder.name: encoder for encoder in dataset.encoders.videos}
    assert encoders["genres"].values == ("x", "y")
    assert encoders["content"].dim == 2
    assert encoders["author_id"].values == ("5",)
    assert encoders["is_ad"].values == ("False", "True")
    notes = dataset.manifest["features"]["videos"]
    assert notes["length"] == {"kind": "numeric", "inferred": True, "missing": 1, "unparsable": 0}
    assert notes["age"]["inferred"] is False
    assert notes["secret"] == {"left out": "a column of BLOB is no feature"}
    assert "video feature author_id: taken as categorical; data.video_features.author_id=KIND changes it" in caplog.text
    assert dataset.video_table()["day"].to_pylist() == [19097.5] * 3
    assert dataset.video_table()["genres"].to_pylist() == [["x", "y"], ["y"], []]
    only = made(log, LeaveOneOut(), videos=videos, video_features={"age": Kind.numeric}, infer=False)
    assert [encoder.name for encoder in only.encoders.videos] == ["age"]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [
        (["a,b", "b, c", "a,c,b", "c", None, "", "c,a"], Kind.multi),
        (["a,b", "b, c", "a,c,b", "c", "a", "b", "d", "e"], Kind.categorical),  # most hold one value
        (["Lopez, Ana", "Berg, Ivo"] * 5, Kind.categorical),  # names repeat, their parts do not
        (["Cats, dogs and us", "Rain, again", "My day, part two", "One, two, go"], Kind.categorical),
        (["a|b", "b|c", "a|c|b"], Kind.categorical),
        (["x", "y", "z", "x", "y", "z", "a|b", "b|a"], Kind.categorical),  # some hold several
        ([",", ",,"], Kind.categorical),
        ([None, ""], None),
    ],
)
@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_texts_that_list_values_are_several_values(
    tmp_path: Path,
    made: Made,
    caplog: pytest.LogCaptureFixture,
    texts: list[str | None],
    kind: Kind | None,
    suffix: str,
) -> None:
    caplog.set_level("INFO")
    write(tmp_path / "log.csv", [{"user_id": 1, "video_id": n, "position": 0} for n in range(len(texts))])
    log = str(tmp_path / "log.csv")
    write(tmp_path / f"videos.{suffix}", [{"video_id": n, "tags": text} for n, text in enumerate(texts)])
    videos = str(tmp_path / f"videos.{suffix}")
    dataset = made(log, LeaveOneOut(), videos=videos, min_count=1)
    assert [encoder.kind for encoder in dataset.encoders.videos] == ([kind] if kind else [])
    if kind is Kind.multi:
        assert dataset.encoders.videos[0].values == ("a", "b", "c")
        assert "video feature tags: taken as multi; data.video_features.tags=KIND changes it" in caplog.text
    told = f"data.videos={videos}: tags is taken for one name a row, but holds '|' between parts that repeat"
    assert (
        (told in caplog.text)
        == ("several names, data.separator='|' does so" in caplog.text)
        == (kind is Kind.categorical and texts[0] in {"a|b", "x"})
    )
    caplog.clear()
    unsplit = made(log, LeaveOneOut(), videos=videos, min_count=1, separator="")
    assert "data.separator" not in caplog.text
    assert all(encoder.kind is Kind.categorical for encoder in unsplit.encoders.videos)


def test_a_separator_is_not_advised_that_would_join_another_columns_names(
    table: Table, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    log = table("log", user_id=[1] * 4, video_id=[0, 1, 2, 3], position=[0, 1, 2, 3])
    texts = {"tags": ["a|b", "b|a", "a|b", "b"], "genres": ["x,y", "y,x", "x", "y,x"], "told": ["a|b", "b|a", "b", "a"]}
    videos = table("videos", video_id=[0, 1, 2, 3], **texts)
    dataset = made(log, LeaveOneOut(), videos=videos, min_count=1, video_features={"told": Kind.categorical})
    kinds = {encoder.name: encoder.kind for encoder in dataset.encoders.videos}
    assert kinds == {"tags": Kind.categorical, "genres": Kind.multi, "told": Kind.categorical}
    (hint,) = [line for line in caplog.messages if "parts that repeat" in line]
    assert "tags is taken for one name a row, but holds '|'" in hint
    assert hint.endswith("to read these as several names, split it beforehand, as data.separator is for all columns")


def test_the_catalogue_is_the_table_and_whatever_was_met(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 1], video_id=[9, 3], time_ms=[T0, T0 + 9], split=["train", "test"])
    dataset = made(log, videos=table("videos", video_id=[5, 9, 7]))
    assert list(dataset.videos.ids([2, 3, 4, 5])) == [5, 7, 9, 3]
    assert dataset.video_table()["known"].to_pylist() == [False, False, True, False]


def test_rows_of_tables_are_rejected_with_a_reason(table: Table, made: Made) -> None:
    log = table("log", user_id=[1], video_id=[1], position=[0])
    users = table("users", user_id=[1, None, 1], age=[30, 40, 50])
    dataset = made(log, LeaveOneOut(), users=users)
    assert rejects(dataset) == [("users", 2, "null user_id"), ("users", 3, "repeated user_id")]
    assert dataset.user_table()["age"].to_pylist() == ["30"]
    assert dataset.manifest["users"]["rejected"] == {"null user_id": 1, "repeated user_id": 1}


def test_features_of_no_table_and_unknown_features(table: Table, made: Made) -> None:
    log = table("log", user_id=[1], video_id=[1], position=[0])
    with pytest.raises(ConfigError, match=r"data\.user_features names age, but there is no data\.users=TABLE"):
        made(log, LeaveOneOut(), user_features={"age": Kind.numeric})
    users = table("users", user_id=[1], age=[30])
    with pytest.raises(DataError, match=r"has no column 'aeg'; did you mean 'age'\?"):
        made(log, LeaveOneOut(), users=users, user_features={"aeg": Kind.numeric})


def test_the_protocol_is_named_after_the_events(table: Table, made: Made) -> None:
    log = table("my-log", user_id=[1], video_id=[1], position=[0])
    assert made(log, LeaveOneOut()).protocol == "my-log"
    assert made(log, LeaveOneOut(), protocol="ours").protocol == "ours"


def test_defaults_are_the_ones_documented() -> None:
    assert Files(events="x").columns == Columns(user_id="user_id", video_id="video_id")


def test_what_only_events_tell_and_the_span_of_times_are_said(
    table: Table, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    log = table("log", user_id=[1, 1, 2, 2], video_id=[1, 2, 1, 3], time_ms=[0, 1651363200000, 1651363260000, 60000])
    videos = table("videos", video_id=[1], length=[1.5])
    made(log, videos=videos)
    assert f"videos met in events alone, not in data.videos={videos}: 2; they have no features" in caplog.text
    assert "times: from 1970-01-01 00:00 to 2022-05-01 00:01 UTC" in caplog.text
    caplog.clear()
    made(table("log2", user_id=[1, 1], video_id=[1, 1], position=[0, 1]), LeaveOneOut(), videos=videos)
    assert "times:" not in caplog.text
    assert "events alone" not in caplog.text
