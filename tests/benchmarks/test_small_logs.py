from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.small_logs import KEPT, sampled
from towers.cli import main
from towers.data import Dataset, Split

USERS, VIDEOS, EACH = 12, 20, 5


def prepared(options: list[str], folder: Path) -> Dataset:
    assert main(["prepare", *options, f"dataset={folder}"]) == 0
    return Dataset.open(folder)


def write(folder: Path, table: str, **columns: object) -> str:
    pq.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), folder / f"{table}.parquet")
    return f"data.{table}={folder / table}.parquet"


@pytest.fixture
def log(tmp_path: Path) -> list[str]:
    """Options of users who watched five videos each, one a second, with weights."""
    users = np.repeat(np.arange(USERS), EACH)
    videos = np.random.default_rng(0).permuted(np.tile(np.arange(VIDEOS), (USERS, 1)), axis=1)[:, :EACH].ravel()
    times = 1_650_000_000_000 + 1000 * np.arange(USERS * EACH)
    events = write(tmp_path, "events", user_id=users, video_id=videos, time_ms=times, worth=1 + users % 3)
    return ["data=files", events, "data.weight=worth", "cut=leave_one_out"]


def test_a_sample_is_the_same_log_of_fewer_users(log: list[str], tmp_path: Path) -> None:
    tags = write(tmp_path, "videos", video_id=np.arange(VIDEOS), tag=[f"tag {n % 3}" for n in range(VIDEOS)])
    ages = write(tmp_path, "users", user_id=np.arange(USERS), age=[f"age {n % 2}" for n in range(USERS)])
    whole = prepared([*log, tags, ages], tmp_path / "whole")
    sample = prepared(sampled(whole, 3, tmp_path / "sample"), tmp_path / "part")
    for split in Split:
        before, after = whole.positives(split), sample.positives(split)
        kept = before.user_row % 3 == KEPT % 3
        assert len(after.video_row) == kept.sum() > 0
        assert sorted(after.weight.tolist()) == sorted(before.weight[kept].tolist())
        assert sorted(after.time_ms.tolist()) == sorted(before.time_ms[kept].tolist())
    assert [each.name for each in sample.encoders.videos] == ["tag"]
    assert [each.name for each in sample.encoders.users] == ["age"]
    assert (len(sample.user_table()), len(sample.video_table())) == (USERS // 3, VIDEOS)


def test_a_log_without_features_stays_one(log: list[str], tmp_path: Path) -> None:
    options = sampled(prepared(log, tmp_path / "whole"), 3, tmp_path / "sample")
    assert [option.partition("=")[0] for option in options] == ["data", "data.events", "data.positive", "data.weight"]
