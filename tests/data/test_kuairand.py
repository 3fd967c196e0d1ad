from importlib.resources import files
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import rejects
from towers.data import Dataset, Kind, KuaiRand, LeaveOneOut, PrepareConfig, Split, prepare
from towers.types import DataError

BUNDLED = files("towers.data") / "bundled"


def test_the_counts_are_the_referees(kuairand: Dataset) -> None:
    """Golden: `python referee.py facts kuairand`."""
    past = kuairand.positives(Split.train, Split.valid).counts() > 0
    asked = kuairand.positives(Split.test).counts() > 0
    assert {
        "videos": len(kuairand.videos) - 2,
        "users": kuairand.manifest["users"]["with_positives"],
        "fit": len(kuairand.positives(Split.train)),
        "valid": len(kuairand.positives(Split.valid)),
        "test": len(kuairand.positives(Split.test)),
        "test users with a past": int((asked & past).sum()),
        "test users without": int((asked & ~past).sum()),
    } == {
        "videos": 7583,
        "users": 26195,
        "fit": 418152,
        "valid": 18760,
        "test": 22765,
        "test users with a past": 11354,
        "test users without": 243,
    }


def test_every_row_is_kept_or_a_counted_duplicate(kuairand: Dataset) -> None:
    counts = kuairand.manifest["events"]
    assert (counts["rows"], counts["kept"], counts["duplicates"], counts["rejected"]) == (619258, 613798, 5460, {})
    assert rejects(kuairand) == []


def test_histories_are_those_of_a_plain_reading(kuairand: Dataset) -> None:
    """The protocol written out once more with loops, over a handful of users."""
    history, log = (pq.read_table(BUNDLED / f"{name}.parquet") for name in ("history", "log"))
    users = [0, 1, 3, 712, 27284, 13414]
    chosen = pa.array(users)
    past = history.filter(pc.is_in(history["user_id"], chosen)).to_pylist()
    views = log.filter(pc.is_in(log["user_id"], chosen)).to_pylist()
    events = [(row["user_id"], row["video_id"], 0) for row in past]
    for row in sorted(views, key=lambda row: row["time_ms"]):
        events += [(row["user_id"], row["video_id"], row["date"])] * row["long_view"]
    for splits, dates in (
        ((Split.train,), (0, 20220430)),
        ((Split.train, Split.valid), (0, 20220503)),
        ((), (0, 20220508)),
    ):
        positives = kuairand.positives(*splits)
        for user, row in zip(users, kuairand.users.rows(users), strict=True):
            expected = list(dict.fromkeys(v for u, v, date in events if u == user and dates[0] <= date <= dates[1]))
            assert list(kuairand.videos.ids(positives.of(row))) == expected


def test_exposures_keep_their_labels_and_the_history_comes_first(kuairand: Dataset) -> None:
    events = kuairand.events(["user_row", "time_ms", "position", "watch_ms", "click", "long_view", "positive"])
    assert np.isnan(events["watch_ms"]).sum() == 390929 == (events["time_ms"] == np.iinfo(np.int64).min).sum()
    order = np.lexsort((events["position"], events["time_ms"], events["user_row"]))
    assert np.array_equal(order, np.arange(len(order)))
    assert events["long_view"][events["positive"]].min() == 1
    log = pq.read_table(BUNDLED / "log.parquet")
    distinct = log.group_by(log.column_names).aggregate([])
    assert np.nansum(events["click"]) == pc.sum(distinct["is_click"]).as_py()
    assert np.nansum(events["watch_ms"]) == pc.sum(distinct["play_time_ms"]).as_py()


def test_minus_124_is_missing(kuairand: Dataset) -> None:
    published = pq.read_table(BUNDLED / "users.parquet", columns=["is_live_streamer"])["is_live_streamer"]
    unknown = pc.sum(pc.equal(published, -124)).as_py()
    assert unknown > 0
    assert kuairand.user_table()["is_live_streamer"].null_count == unknown
    (encoder,) = [e for e in kuairand.encoders.users if e.name == "is_live_streamer"]
    assert encoder.values == ("1",)


def test_features_have_the_kinds_that_the_source_declares(kuairand: Dataset) -> None:
    kinds = {e.name: e.kind for e in (*kuairand.encoders.users, *kuairand.encoders.videos)}
    assert kinds["tag"] is Kind.multi
    assert kinds["author_id"] is Kind.categorical
    assert kinds["video_duration"] is Kind.numeric
    days = set(kuairand.video_table()["upload_dt"].to_pylist())
    assert days == {19091.0, 19092.0, 19093.0}
    assert ["12", "65"] in kuairand.video_table()["tag"].to_pylist()


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """A small download in the authors' layout, cut from the bundled log."""
    folder = tmp_path / "KuaiRand-Pure" / "data"
    folder.mkdir(parents=True)
    log = pq.read_table(BUNDLED / "log.parquet")
    log = log.filter(pc.less(log["user_id"], 300))
    early = pc.less_equal(log["date"], 20220430)
    tables = {
        "log_standard_4_08_to_4_21_pure.csv": log.filter(early),
        "log_standard_4_22_to_5_08_pure.csv": log.filter(pc.invert(early)),
        "user_features_pure.csv": pq.read_table(BUNDLED / "users.parquet"),
        "video_features_basic_pure.csv": pq.read_table(BUNDLED / "videos.parquet"),
    }
    with duckdb.connect() as connection:
        for name, rows in tables.items():
            connection.from_arrow(rows).write_csv(str(folder / name))
    return folder


def test_the_authors_own_files_are_read(download: Path, tmp_path: Path, kuairand: Dataset) -> None:
    config = PrepareConfig(data=KuaiRand(folder=str(download)), cut=LeaveOneOut(), dataset=str(tmp_path / "dataset"))
    dataset = prepare(config)
    log = pq.read_table(BUNDLED / "log.parquet").to_pylist()
    rows = {tuple(row.values()) for row in log if row["user_id"] < 300}
    pairs = {(row["user_id"], row["video_id"]) for row in log if row["user_id"] < 300 and row["long_view"]}
    assert dataset.manifest["events"]["kept"] == len(rows)
    assert len(dataset.positives()) == len(pairs)
    assert dataset.video_table().drop("known").equals(kuairand.video_table().drop("known"))
    assert [e.kind for e in dataset.encoders.users] == [e.kind for e in kuairand.encoders.users]


def test_a_missing_file_is_named_with_its_folder(download: Path, tmp_path: Path) -> None:
    (download / "user_features_pure.csv").unlink()
    config = PrepareConfig(data=KuaiRand(folder=str(download)), cut=LeaveOneOut(), dataset=str(tmp_path / "dataset"))
    with pytest.raises(
        DataError, match=r"user_features_pure\.csv is not in data\.folder=.*data; expected the unpacked"
    ):
        prepare(config)


def test_a_missing_column_of_the_download_is_named(download: Path, tmp_path: Path) -> None:
    path = download / "video_features_basic_pure.csv"
    pacsv.write_csv(pacsv.read_csv(path).drop("author_id"), path)
    config = PrepareConfig(data=KuaiRand(folder=str(download)), cut=LeaveOneOut(), dataset=str(tmp_path / "dataset"))
    with pytest.raises(DataError, match=r"video_features_basic_pure\.csv has no column 'author_id'"):
        prepare(config)


def test_licence_and_card_travel_with_the_data() -> None:
    assert "Attribution-ShareAlike 4.0 International" in (BUNDLED / "LICENSE").read_text(encoding="utf-8")
    card = (BUNDLED / "DATA_CARD.md").read_text(encoding="utf-8")
    for name in ("log", "history", "users", "videos"):
        published = pq.read_metadata(BUNDLED / f"{name}.parquet")
        assert f"| `{name}.parquet` | {published.num_rows:,} | {published.num_columns} |" in card
