import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import T0, Made, Table
from towers.data import TIME_UNKNOWN, Dataset, Split
from towers.types import DataError


@pytest.fixture
def dataset(table: Table, made: Made) -> Dataset:
    events = table(
        "log",
        user_id=["b", "a", "a", "b", "a", "c"],
        video_id=[10, 20, 10, 20, 20, 10],
        position=[0, 1, 0, 1, 2, 0],
        time_ms=[None, T0 + 5, None, T0 + 9, T0 + 9, T0 + 7],
        split=["train", "train", "train", "test", "valid", "train"],
        watch_ms=[1, 2, None, 4, 5, 6],
        note=["x", None, "y", "z", "x", "y"],
    )
    return made(events)


def test_positives_are_oldest_first_and_unknown_times_come_before_known_ones(dataset: Dataset) -> None:
    positives = dataset.positives()
    a, b, c = dataset.users.rows(["a", "b", "c"])
    assert list(dataset.videos.ids(positives.of(a))) == [10, 20]
    assert list(dataset.videos.ids(positives.of(b))) == [10, 20]
    assert positives.counts().tolist() == [0, 0, 2, 2, 1]
    assert positives.time_ms[positives.offsets[a]] == TIME_UNKNOWN
    assert positives.user_row.tolist() == [a, a, b, b, c]
    assert [str(a.dtype) for a in (positives.video_row, positives.offsets, positives.weight)] == [
        "int32",
        "int64",
        "float32",
    ]


def test_positives_of_chosen_splits(dataset: Dataset) -> None:
    assert [len(dataset.positives(split)) for split in Split] == [4, 0, 1]
    assert len(dataset.positives(Split.train, Split.test)) == 5


def test_what_was_passed_over_is_what_was_shown_and_never_taken(made: Made, table: Table) -> None:
    # a: 10 is passed over and then taken, 20 passed over, 30 passed over in train and taken in test; b: only taken
    log = table(
        "log",
        user_id=["a", "a", "a", "a", "a", "b"],
        video_id=[10, 20, 30, 10, 30, 20],
        time_ms=[T0, T0 + 1, T0 + 2, T0 + 3, T0 + 9, T0 + 1],
        split=["train", "train", "train", "train", "test", "train"],
        long_view=[0, 0, 0, 1, 1, 1],
    )
    dataset = made(log, positive="long_view = 1")
    a, b = dataset.users.rows(["a", "b"])
    for splits, videos in (([Split.train], [20, 30]), ([Split.test], []), ([], [20])):
        assert list(dataset.videos.ids(dataset.passed(*splits).of(a))) == videos
        assert len(dataset.passed(*splits).of(b)) == 0


def test_columns_with_nulls_keep_them(dataset: Dataset) -> None:
    events = dataset.events(["watch_ms", "note", "time_ms", "split"])
    assert np.isnan(events["watch_ms"]).tolist() == [True, False, False, False, False, False]
    assert events["note"].tolist() == ["y", None, "x", "x", "z", "y"]
    assert events["time_ms"].dtype == "int64"
    assert events["time_ms"].tolist() == [TIME_UNKNOWN, T0 + 5, T0 + 9, TIME_UNKNOWN, T0 + 9, T0 + 7]


def test_a_column_that_is_not_there_is_answered_with_those_that_are(dataset: Dataset) -> None:
    with pytest.raises(DataError, match="events have no column 'wach_ms'; they have user_row, video_row, time_ms"):
        dataset.events(["wach_ms"])


def test_a_folder_that_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no manifest\.json, so it is no dataset; make it with: towers prepare"):
        Dataset.open(tmp_path)
    (tmp_path / "views.csv").touch()
    with pytest.raises(DataError, match=r"views\.csv is a file, no folder; make it with: towers prepare"):
        Dataset.open(tmp_path / "views.csv")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; make it with: towers prepare"):
        Dataset.open(tmp_path / "nowhere")


def test_another_schema_version_is_refused_with_both_numbers(dataset: Dataset) -> None:
    path = dataset.folder / "manifest.json"
    path.write_text(json.dumps(dataset.manifest | {"schema": 99}))
    with pytest.raises(DataError, match="has schema 99; this version reads 1"):
        Dataset.open(dataset.folder)


def test_an_incomplete_dataset_names_what_it_lacks(dataset: Dataset) -> None:
    (dataset.folder / "users.parquet").unlink()
    with pytest.raises(DataError, match=r"lacks users\.parquet; make it with"):
        Dataset.open(dataset.folder)


def test_a_damaged_file_is_named(dataset: Dataset) -> None:
    (dataset.folder / "events.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match=r"cannot read .*events\.parquet.*prepare the dataset again"):
        Dataset.open(dataset.folder).positives()


def test_the_fingerprint_follows_the_contents(dataset: Dataset, table: Table, made: Made) -> None:
    other = made(table("other", user_id=[1], video_id=[1], position=[0], split=["train"]), name="other")
    assert other.fingerprint != dataset.fingerprint == Dataset.open(dataset.folder).fingerprint
    assert pq.read_metadata(other.folder / "events.parquet").num_rows == 1
