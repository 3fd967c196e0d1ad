"""Exposures and what was known by then: against counting one by one, and never with a look ahead."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.worlds import write_world
from towers.data import TIME_UNKNOWN, Dataset, Split
from towers.features import encode_table
from towers.features.exposures import Exposures, as_text, context_code, context_values
from towers.features.so_far import SoFar, so_far
from towers.types import ConfigError, DataError

DAY = 86_400_000


def log(folder: Path, seed: int = 0, later: bool = True) -> Dataset:
    """Users who were shown videos over nine days, a third of them liked, after some positives of unknown time."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(2, 12):
        rows += [(user, int(video), TIME_UNKNOWN, 0, True, "home") for video in rng.integers(2, 22, 3)]
        moments = np.sort(rng.integers(0, 9 * 24, 40)) * 3_600_000
        shown = rng.permutation(40)[:40] % 20 + 2
        for moment, video in zip(moments, shown, strict=True):
            split = int(moment >= 5 * DAY) + int(moment >= 7 * DAY)
            rows.append((user, int(video), int(moment), split, bool(rng.random() < 1 / 3), rng.choice(["home", "tab"])))
    kept, had = [], set[tuple[int, int]]()
    for row in rows:
        first = row[:2] not in had and row[4]
        had |= {row[:2]} if row[4] else set()
        if later or row[3] < 2:
            kept.append((*row[:4], first, row[5]))
    dataset = write_world(folder, [("u0", "v00", "train")], 20, [f"u{n}" for n in range(10)])
    users, videos, time_ms, splits, liked, place = zip(*kept, strict=True)
    times = pa.array([None if t == TIME_UNKNOWN else t for t in time_ms], pa.int64())
    columns = {
        "user_row": pa.array(users, pa.int32()), "video_row": pa.array(videos, pa.int32()), "time_ms": times,
        "position": pa.array(range(len(kept)), pa.int32()), "split": pa.array(splits, pa.int8()),
        "positive": np.array(liked), "weight": np.ones(len(kept), np.float32), "place": list(place),
        "ended": ["yes" if each else "no" for each in liked],
    }  # fmt: skip
    pq.write_table(pa.table(columns), folder / "events.parquet")
    return dataset


def so_far_of(dataset: Dataset) -> tuple[Exposures, SoFar]:
    exposures = Exposures.of(dataset, ["place"])
    return exposures, SoFar.of(exposures, dataset, encode_table(dataset.encoders.videos, dataset.video_table()))


def test_exposures_are_timed_and_of_videos_not_yet_watched(tmp_path: Path) -> None:
    dataset = log(tmp_path / "d")
    exposures = Exposures.of(dataset)
    events = dataset.events(["user_row", "video_row", "time_ms", "positive"])
    wanted, had = [], set()
    for user, video, moment, liked in zip(*events.values(), strict=True):
        if (user, video) not in had and moment != TIME_UNKNOWN:
            wanted.append((user, video, moment, liked))
        had |= {(user, video)} if liked else set()
    found = zip(exposures.user_row, exposures.video_row, exposures.time_ms, exposures.liked, strict=True)
    assert list(found) == wanted


def test_a_request_holds_the_newest_positives_strictly_before(tmp_path: Path) -> None:
    dataset = log(tmp_path / "d")
    exposures, positives = Exposures.of(dataset), dataset.positives()
    requests = exposures.requests(positives, 3)
    for at in range(len(exposures)):
        user, now = exposures.user_row[at], exposures.time_ms[at]
        before = positives.of(user)[positives.times_of(user) < now]
        assert requests.history[at][requests.history[at] > 0].tolist() == before[-3:].tolist()
        assert requests.asked_ms[at] == now
        assert exposures.watched[at] == len(before)


def test_counting_so_far_is_counting_one_by_one() -> None:
    rng = np.random.default_rng(0)
    key, moment, liked = rng.integers(0, 5, 200), rng.integers(0, 20, 200), rng.random(200) < 0.4
    total, good = so_far(key, moment, liked)
    for at in range(200):
        earlier = (key == key[at]) & (moment < moment[at])
        assert (total[at], good[at]) == (earlier.sum(), liked[earlier].sum())


def test_of_a_video_the_days_before_are_counted(tmp_path: Path) -> None:
    exposures, found = so_far_of(log(tmp_path / "d"))
    day = (exposures.time_ms - exposures.time_ms.min()) // DAY
    for at in range(0, len(exposures), 7):
        earlier = (exposures.video_row == exposures.video_row[at]) & (day < day[at])
        base = (exposures.liked[day < day[at]].sum() + 0.5) / ((day < day[at]).sum() + 1)
        rate = (exposures.liked[earlier].sum() + 10 * base) / (earlier.sum() + 10)
        assert found.video_rate[at] == pytest.approx(rate)
        a_day = found.numbers[at, found.names.index("video's exposures")]
        assert a_day == pytest.approx(np.log1p(earlier.sum() / (day[at] + 1)), rel=1e-5)


def test_what_comes_later_changes_nothing(tmp_path: Path) -> None:
    whole, begun = so_far_of(log(tmp_path / "whole")), so_far_of(log(tmp_path / "begun", later=False))
    early = whole[0].split < int(Split.test)
    assert whole[1].names == begun[1].names
    assert np.array_equal(whole[1].numbers[early], begun[1].numbers)


def test_an_outcome_is_not_known_at_its_own_moment(tmp_path: Path) -> None:
    """Flipping what became of one exposure moves no statistic of it, nor of any earlier day."""
    dataset = log(tmp_path / "d")
    exposures, before = so_far_of(dataset)
    day = (exposures.time_ms - exposures.time_ms.min()) // DAY
    at = int(np.flatnonzero(~exposures.liked & (day == 1))[0])
    flipped = exposures.liked.copy()
    flipped[at] = True
    changed = Exposures(**{**vars(exposures), "liked": flipped})
    after = SoFar.of(changed, dataset, encode_table(dataset.encoders.videos, dataset.video_table()))
    same_or_earlier = exposures.time_ms <= exposures.time_ms[at]
    assert np.array_equal(before.numbers[same_or_earlier], after.numbers[same_or_earlier])
    of_video = [place for place, name in enumerate(before.names) if name.startswith("video's")]
    moved = (before.numbers[:, of_video] != after.numbers[:, of_video]).any(axis=1)
    assert not moved[day <= day[at]].any()
    told = (day > day[at]) & (exposures.video_row == exposures.video_row[at])
    assert told.any()
    assert moved[told].all()


def test_a_circumstance_is_coded_by_its_value() -> None:
    texts = as_text(np.array([3.0, np.nan, 3.0, 7.0]))
    values = context_values(texts, least=2, most=5)
    assert values == ["3"]
    assert context_code(texts, values).tolist() == [2, 0, 2, 1]


def test_a_column_that_tells_the_outcome_is_refused(tmp_path: Path) -> None:
    dataset = log(tmp_path / "d")
    with pytest.raises(ConfigError, match=r"engagement.context has 'ended', whose values tell of every exposure"):
        Exposures.of(dataset, ["place", "ended"])


def test_a_column_of_names_that_seldom_come_again_is_no_outcome(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    dataset = log(folder)
    events = pq.read_table(folder / "events.parquet")
    session = np.random.default_rng(1).integers(0, 400, len(events)).astype(str)
    pq.write_table(events.append_column("session", pa.array(session)), folder / "events.parquet")
    assert set(Exposures.of(dataset, ["session"]).context) == {"session"}


def test_what_is_no_circumstance_or_has_no_time_is_refused(tmp_path: Path) -> None:
    dataset = log(tmp_path / "d")
    with pytest.raises(ConfigError, match=r"engagement.context has 'positive', which is no circumstance"):
        Exposures.of(dataset, ["positive"])
    with pytest.raises(DataError, match=r"events have no column 'tabs'; they have "):
        Exposures.of(dataset, ["tabs"])
    untimed = write_world(tmp_path / "untimed", [("a", "v01", "train"), ("a", "v02", "test")], 3)
    with pytest.raises(DataError, match=r"no event has a time.*prepare with data.columns.time_ms"):
        Exposures.of(untimed)
