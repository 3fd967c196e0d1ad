import numpy as np
import pytest

from tests.data.conftest import T0, Made, Table
from towers.data import Columns, Dataset, LeaveOneOut, Repeats, Split, TimeCut
from towers.data.cut import moment
from towers.types import ConfigError, DataError

Sequences = dict[int, list[int]]


def videos_by_split(dataset: Dataset) -> dict[str, Sequences]:
    """Video ids of every user's positives, by split."""
    found = {}
    for split in Split:
        positives = dataset.positives(split)
        rows = [row for row in range(2, len(dataset.users)) if len(positives.of(row))]
        found[split.name] = {
            int(dataset.users.ids([row])[0]): list(dataset.videos.ids(positives.of(row))) for row in rows
        }
    return found


def test_a_share_cuts_by_the_number_of_events(table: Table, made: Made) -> None:
    log = table("log", user_id=[1] * 10, video_id=list(range(10)), time_ms=[T0 + n**3 for n in range(10)])
    dataset = made(log, TimeCut(valid="0.5", test="0.8"))
    assert videos_by_split(dataset) == {"train": {1: [0, 1, 2, 3, 4]}, "valid": {1: [5, 6, 7]}, "test": {1: [8, 9]}}
    assert (
        dataset.manifest["cut"] | {"kind": "time", "valid_ms": T0 + 125, "test_ms": T0 + 512} == dataset.manifest["cut"]
    )


def test_an_event_at_the_moment_itself_is_not_in_its_past(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2, 3, 4], video_id=[1, 2, 3, 4], time_ms=[T0, T0 + 1, T0 + 1, T0 + 2])
    dataset = made(log, TimeCut(valid=str(T0 + 1), test="2022-04-15T07:20:00.002+02:00"))
    assert dataset.manifest["cut"]["test_ms"] == T0 + 2
    assert videos_by_split(dataset) == {"train": {1: [1]}, "valid": {2: [2], 3: [3]}, "test": {4: [4]}}


def test_equal_times_stay_on_one_side(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2, 3, 4, 5], video_id=[1, 2, 3, 4, 5], time_ms=[T0, T0 + 7, T0 + 7, T0 + 7, T0 + 9])
    dataset = made(log, TimeCut(valid="0.4", test="0.99"))
    assert videos_by_split(dataset) == {"train": {1: [1]}, "valid": {2: [2], 3: [3], 4: [4]}, "test": {5: [5]}}


def leave_one_out(sequences: Sequences) -> dict[str, Sequences]:
    """The protocol in plain Python, as the referee has it."""
    parts: dict[str, Sequences] = {"train": {}, "valid": {}, "test": {}}
    for user, videos in sequences.items():
        if len(videos) < 3:
            parts["train"][user] = videos
        else:
            parts["train"][user], parts["valid"][user], parts["test"][user] = videos[:-2], videos[-2:-1], videos[-1:]
    return parts


@pytest.mark.parametrize("seed", range(8))
def test_leave_one_out_is_the_plain_one(table: Table, made: Made, seed: int) -> None:
    random = np.random.default_rng(seed)
    size = int(random.integers(1, 30))
    users, videos = random.integers(1, 5, size).tolist(), random.integers(1, 6, size).tolist()
    dataset = made(table("log", user_id=users, video_id=videos, position=list(range(size))), LeaveOneOut())
    sequences: Sequences = {}
    for user, video in zip(users, videos, strict=True):
        if video not in sequences.setdefault(user, []):
            sequences[user].append(video)
    assert videos_by_split(dataset) == leave_one_out(sequences)


def test_other_events_go_with_the_positive_that_they_follow(table: Table, made: Made) -> None:
    log = table(
        "log",
        user_id=[1] * 8,
        video_id=list(range(8)),
        position=list(range(8)),
        long_view=[0, 1, 0, 1, 0, 1, 0, 0],
    )
    events = made(log, LeaveOneOut(), positive="long_view = 1").events(["split", "positive"])
    assert events["split"].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]
    assert events["positive"].tolist() == [False, True, False, True, False, True, False, False]


def test_repeats_count_once_or_every_time(table: Table, made: Made) -> None:
    log = table("log", user_id=[1] * 5, video_id=[7, 8, 7, 9, 7], position=[0, 1, 2, 3, 4])
    first = made(log, LeaveOneOut())
    assert videos_by_split(first) == {"train": {1: [7]}, "valid": {1: [8]}, "test": {1: [9]}}
    assert first.manifest["events"]["kept"] == 5
    every = made(log, LeaveOneOut(), repeats=Repeats.all)
    assert videos_by_split(every) == {"train": {1: [7, 8, 7]}, "valid": {1: [9]}, "test": {1: [7]}}


def test_a_split_column_is_used_as_it_is(table: Table, made: Made) -> None:
    columns = {"user_id": [1, 1, 1], "video_id": [1, 2, 3], "time_ms": [T0, T0 + 1, T0 + 2]}
    log = table("log", **columns, split=["test", "train", "valid"])
    dataset = made(log)
    assert videos_by_split(dataset) == {"train": {1: [2]}, "valid": {1: [3]}, "test": {1: [1]}}
    assert dataset.manifest["cut"]["kind"] == "given"
    anew = made(log, LeaveOneOut(), columns=Columns(split=None))
    assert videos_by_split(anew) == {"train": {1: [1]}, "valid": {1: [2]}, "test": {1: [3]}}


def test_an_unknown_name_in_the_split_column(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], position=[0, 0], split=["train", "dev"])
    with pytest.raises(DataError, match="column 'split' holds 'dev' in 1 rows; expected train, valid or test"):
        made(log)


def test_a_cut_in_time_needs_times(table: Table, made: Made) -> None:
    with pytest.raises(
        DataError, match=r"no event has one; set data\.columns\.time_ms=COLUMN, or take cut=leave_one_out"
    ):
        made(table("log", user_id=[1], video_id=[1], position=[0]))


def test_moments_in_the_wrong_order(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], time_ms=[T0, T0 + 1])
    with pytest.raises(DataError, match=r"cut\.valid=0\.9 is \d{4}-\d\d-\d\d \d\d:\d\d UTC, later than .* give both"):
        made(log, TimeCut(valid="0.9", test=str(T0)))
    with pytest.raises(DataError, match=r"cut\.valid=16\d{14} is 16\d{14} ms, later than .* give both"):
        made(log, TimeCut(valid=str(T0 * 1000), test="0.9"))


def test_a_cut_before_everything(table: Table, made: Made) -> None:
    log = table("log", user_id=[1, 2], video_id=[1, 2], time_ms=[T0, T0 + 1])
    with pytest.raises(DataError, match=rf"no positive lies before {T0 - 5} ms.*2 positives in all.*cut\.valid later"):
        made(log, TimeCut(valid=str(T0 - 5)))


@pytest.mark.parametrize("text", ["soon", "1.5", "0", "-0.2", "2022-13-01", "80%"])
def test_what_is_neither_share_nor_moment(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"cut\.valid={text}; expected a share between 0 and 1, a moment such as"):
        TimeCut(valid=text)


def test_moments_are_utc_unless_they_say_otherwise() -> None:
    assert moment("2022-05-01", "cut.valid") == 1651363200000
    assert moment("2022-05-01T08:00:00+08:00", "cut.valid") == 1651363200000
    assert moment("1651363200000", "cut.valid") == 1651363200000
