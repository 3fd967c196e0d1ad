import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import T0, Made, Table
from towers.data import (
    CUTS,
    SOURCES,
    Cut,
    Dataset,
    Files,
    KuaiRand,
    LeaveOneOut,
    PrepareConfig,
    Split,
    TimeCut,
    prepare,
)
from towers.types import ConfigError, DataError


def bytes_of(folder: Path | str) -> dict[str, bytes]:
    """What a folder holds, but for when its log was read."""
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.name != "read_at.txt"}


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_input_gives_the_same_bytes(kuairand: Dataset, tmp_path: Path, threads: int) -> None:
    config = PrepareConfig(
        data=KuaiRand(), cut=LeaveOneOut(), dataset=str(tmp_path / "again"), threads=threads, memory="500MB"
    )
    again = prepare(config)
    assert bytes_of(again.folder) == bytes_of(kuairand.folder)
    assert (again.folder / "read_at.txt").read_text() == f"{again.read_at.isoformat(timespec='milliseconds')}\n"
    assert kuairand.read_at < again.read_at < datetime.now(UTC)


EVENTS = {
    "user_id": [1, 1, 2, 2, 3, 3, 1, 2],
    "video_id": [10, 20, 10, 30, 20, 10, 30, 20],
    "time_ms": [T0 + n for n in (0, 10, 20, 30, 40, 50, 100, 200)],
}
USERS = {"user_id": [1, 2, 3], "age": [20.0, 30.0, 40.0], "city": ["a", "b", "a"]}
VIDEOS = {"video_id": [10, 20, 30, 40], "author": ["x", "x", "y", "z"], "length": [1.0, 2.0, 3.0, 99.0]}
CUT = TimeCut(valid=str(T0 + 60), test=str(T0 + 150))
PLANTED = [(1, 10), (1, 40), (1, 7), (4, 20), (0, 99)]
"""Known and new users meeting known, listed and new videos; ids before, between and after the known ones."""


def train_part(dataset: Dataset) -> dict[str, list[object]]:
    events = dataset.events(["user_row", "video_row", "time_ms", "position", "split", "positive", "weight"])
    keep = events["split"] == Split.train
    return {name: values[keep].tolist() for name, values in events.items()}


@pytest.mark.parametrize("planted", PLANTED)
def test_an_event_after_the_cut_changes_nothing_before_it(table: Table, made: Made, planted: tuple[int, int]) -> None:
    tables = {"users": table("users", **USERS), "videos": table("videos", **VIDEOS)}
    before = made(table("log", **EVENTS), CUT, min_count=1, **tables)
    columns = dict(zip(EVENTS, (*planted, T0 + 70), strict=True))
    log = table("planted", **{name: [*values, columns[name]] for name, values in EVENTS.items()})
    after = made(log, CUT, min_count=1, name="after", **tables)
    assert (after.folder / "encoders.json").read_bytes() == (before.folder / "encoders.json").read_bytes()
    for one, other in ((before.users, after.users), (before.videos, after.videos)):
        assert other.known[: len(one.known)].tolist() == one.known.tolist()
        assert len(other) - len(one) in {0, 1}
    for name in ("user_table", "video_table"):
        old, new = getattr(before, name)(), getattr(after, name)()
        assert new.slice(0, old.num_rows).equals(old)
    assert train_part(after) == train_part(before)
    assert len(after.positives()) == len(before.positives()) + (planted not in {(1, 10), (4, 20)}) + (
        planted == (4, 20)
    )


def test_the_encoders_do_not_see_what_is_met_later_or_never(table: Table, made: Made) -> None:
    dataset = made(table("log", **EVENTS), CUT, min_count=1, videos=table("videos", **VIDEOS))
    author, length = dataset.encoders.videos
    assert author.values == ("x", "y")
    assert max(length.boundaries) == 3.0
    assert dataset.video_table()["known"].to_pylist() == [True, True, True, False]


def test_one_user_and_one_video(table: Table, made: Made) -> None:
    dataset = made(table("log", user_id=[1], video_id=[1], time_ms=[T0], split=["train"]))
    assert (len(dataset.users), len(dataset.videos), dataset.positives().of(2).tolist()) == (3, 3, [2])
    one_user = made(table("user", user_id=[1] * 10, video_id=list(range(10)), time_ms=[T0 + n for n in range(10)]))
    assert [len(one_user.positives(split)) for split in Split] == [8, 1, 1]
    one_video = made(table("video", user_id=list(range(10)), video_id=[1] * 10, time_ms=[T0 + n for n in range(10)]))
    assert [len(one_video.positives(split)) for split in Split] == [8, 1, 1]


def test_a_users_history_is_the_one_a_plain_program_gives(table: Table, made: Made) -> None:
    random = np.random.default_rng(7)
    size = 3000
    log = {
        "user_id": random.integers(0, 40, size),
        "video_id": random.integers(0, 90, size),
        "time_ms": T0 + random.integers(0, 500, size),
    }
    dataset = made(table("log", **log, score=random.random(size)), positive="score > 0.4", weight="score")
    rows = sorted(zip(*log.values(), range(size), strict=True), key=lambda row: (row[2], row[3]))
    score = pq.read_table(Path(dataset.folder).parent / "log.parquet")["score"].to_numpy()
    expected: dict[int, dict[int, float]] = {}
    for user, video, _, place in rows:
        if score[place] > 0.4:
            expected.setdefault(int(user), {}).setdefault(int(video), float(np.float32(score[place])))
    positives = dataset.positives()
    for user, history in expected.items():
        (row,) = dataset.users.rows([user])
        assert list(dataset.videos.ids(positives.of(row))) == list(history)
        assert positives.weight[positives.offsets[row] : positives.offsets[row + 1]].tolist() == list(history.values())


@pytest.mark.parametrize(
    ("cut", "options", "remedies"),
    [
        (CUT, {}, {}),
        (
            CUT,
            {"positive": f"time_ms < {T0 + 110}"},
            {"test": r"\(of 1\), .*; move cut.test earlier, or let data.positive"},
        ),
        (
            TimeCut(valid=str(T0 + 900), test=str(T0 + 900)),
            {},
            {"valid": "move cut.valid earlier", "test": "move cut.test earlier"},
        ),
        (
            LeaveOneOut(),
            {"positive": "video_id = 10"},
            {"valid": "it takes users with three positives", "test": "it takes users with three positives"},
        ),
        (CUT, {"split": ["train"] * 7 + ["valid"]}, {"test": "mark events as test in the split column"}),
    ],
)
def test_a_split_without_positives_is_warned_of(
    table: Table,
    made: Made,
    caplog: pytest.LogCaptureFixture,
    cut: Cut,
    options: dict[str, Any],
    remedies: dict[str, str],
) -> None:
    split = {"split": options["split"]} if "split" in options else {}
    made(table("log", **EVENTS, **split), cut, **{key: options[key] for key in options.keys() - {"split"}})
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == len(remedies)
    for line, (name, remedy) in zip(warned, remedies.items(), strict=True):
        assert re.match(rf"{name} has no positive event .*{remedy}", line)


def test_a_condition_on_a_column_that_is_not_there_is_told_what_is(table: Table, made: Made) -> None:
    with pytest.raises(DataError, match=r"there is no column 'lengths'; the nearest are .*\blength\b"):
        made(table("log", **EVENTS, length=[1.0] * 8), CUT, positive="lengths > 1")


def test_things_that_are_rejected_are_warned_of(table: Table, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    twice = {"video_id": [10, 20, 10], "length": [1.0, 2.0, 3.0]}
    made(table("log", **EVENTS), CUT, videos=table("videos", **twice))
    assert "videos: rejected repeated video_id: 1; see rejected.parquet" in [
        each.getMessage() for each in caplog.records
    ]


def test_families_hold_what_can_be_chosen() -> None:
    assert (set(SOURCES), set(CUTS)) == ({"kuairand", "files"}, {"time", "leave_one_out"})


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"min_count": 0}, "min_count=0; expected 1 or more"),
        ({"buckets": 1}, "buckets=1; expected 2 or more"),
        ({"memory": "lots"}, "memory=lots; expected a size such as 2GB"),
        ({"threads": 0}, "threads=0; expected 1 or more"),
    ],
)
def test_options_that_make_no_sense(table: Table, made: Made, option: dict[str, object], message: str) -> None:
    log = table("log", user_id=[1], video_id=[1], position=[0])
    with pytest.raises(ConfigError, match=message):
        made(log, LeaveOneOut(), **option)


def test_a_failed_run_leaves_the_old_dataset_and_nothing_else(table: Table, made: Made, tmp_path: Path) -> None:
    old = bytes_of(made(table("log", user_id=[1], video_id=[1], position=[0]), LeaveOneOut()).folder)
    with pytest.raises(DataError):
        made(table("broken", user_id=[1]), LeaveOneOut())
    assert bytes_of(tmp_path / "dataset") == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.parquet", "dataset", "log.parquet"]


@pytest.mark.parametrize("foreign", ["notes.md", "run/weights.pt", ".hidden"])
def test_what_prepare_did_not_write_is_never_lost(table: Table, made: Made, tmp_path: Path, foreign: str) -> None:
    log = table("log", user_id=[1], video_id=[1], position=[0])
    folder = made(log, LeaveOneOut()).folder
    assert made(log, LeaveOneOut()).folder == folder
    (folder / foreign).parent.mkdir(exist_ok=True)
    (folder / foreign).write_text("hours of work")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    name = Path(foreign).parts[0]
    with pytest.raises(DataError) as refused:
        made(log, LeaveOneOut())
    assert str(refused.value) == (
        f"{folder} also holds {name}, which prepare did not write; move it, or choose another dataset=DIR"
    )
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


KILLED = """
import sys
from towers.data import KuaiRand, LeaveOneOut, PrepareConfig, prepare
prepare(PrepareConfig(data=KuaiRand(), cut=LeaveOneOut(), dataset=sys.argv[1], threads=1))
"""


@pytest.mark.parametrize(("there", "wait_for"), [(False, "work/work.duckdb"), (True, "events.parquet")])
def test_kill_9_leaves_the_old_dataset_or_none_and_the_next_run_is_clean(
    kuairand: Dataset, table: Table, made: Made, tmp_path: Path, there: bool, wait_for: str
) -> None:
    target = tmp_path / "dataset"
    old = {}
    if there:
        old = bytes_of(made(table("log", user_id=[1], video_id=[1], position=[0]), LeaveOneOut()).folder)
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(target)])
    while process.poll() is None and not list(tmp_path.glob(f"dataset.partial-*/{wait_for}")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert list(tmp_path.glob("dataset.partial-*"))
    assert target.exists() == there
    assert not there or bytes_of(target) == old
    prepare(PrepareConfig(data=KuaiRand(), cut=LeaveOneOut(), dataset=str(target)))
    assert bytes_of(target) == bytes_of(kuairand.folder)
    assert not list(tmp_path.glob("dataset.*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    if (
        os.geteuid() != 0
        or mount is None
        or subprocess.run([mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", place]).returncode
    ):
        pytest.skip("only root can mount a small tmpfs here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_leaves_the_old_dataset(small_disk: Path, table: Table) -> None:
    config = PrepareConfig(
        data=Files(events=table("log", user_id=[1], video_id=[1], position=[0])),
        cut=LeaveOneOut(),
        dataset=str(small_disk / "dataset"),
    )
    old = bytes_of(prepare(config).folder)
    config.data = KuaiRand()
    with pytest.raises(
        DataError, match=r"the disk is full.*nothing was changed; free some space, or choose another dataset="
    ):
        prepare(config)
    assert bytes_of(small_disk / "dataset") == old
    assert [path.name for path in small_disk.iterdir()] == ["dataset"]
    assert len(Dataset.open(small_disk / "dataset").positives()) == 1


def test_another_dataset_in_its_place_is_warned_of(table: Table, made: Made, caplog: pytest.LogCaptureFixture) -> None:
    line = "held another dataset, which is replaced; runs trained on it have to be trained again"
    for name, video, told in [("one", 1, False), ("same", 1, False), ("other", 2, True)]:
        made(table(name, user_id=[1], video_id=[video], position=[0]), LeaveOneOut())
        assert (line in caplog.text) is told
    last = made(table("log", user_id=[1], video_id=[1], position=[0]), LeaveOneOut())
    caplog.clear()
    for broken in ("[]", "null", "{", "{}"):
        (last.folder / "manifest.json").write_text(broken)
        made(table("log", user_id=[1], video_id=[1], position=[0]), LeaveOneOut())
    assert line not in caplog.text
