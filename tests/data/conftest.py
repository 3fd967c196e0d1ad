"""Small logs as files, and the way from them to a dataset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from towers.data import Cut, Dataset, Files, KuaiRand, LeaveOneOut, PrepareConfig, TimeCut, prepare

T0 = 1_650_000_000_000
"""A time in April 2022, ms."""
Table = Callable[..., str]
Made = Callable[..., Dataset]


@pytest.fixture(scope="session")
def kuairand(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("kuairand") / "dataset"
    return prepare(PrepareConfig(data=KuaiRand(), cut=LeaveOneOut(), dataset=str(folder)))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Write columns as Parquet and return the path."""

    def write(name: str, **columns: object) -> str:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), path)
        return str(path)

    return write


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Prepare files into a dataset."""

    def make(events: str, cut: Cut | None = None, name: str = "dataset", **options: Any) -> Dataset:  # noqa: ANN401
        knobs = {key: options.pop(key) for key in ("min_count", "buckets", "memory", "threads") if key in options}
        data = Files(events=events, **options)
        return prepare(PrepareConfig(data=data, cut=cut or TimeCut(), dataset=str(tmp_path / name), **knobs))

    return make


def rejects(dataset: Dataset) -> list[tuple[str, int, str]]:
    """Return source, source_row and reason of every rejected row."""
    found = pq.read_table(dataset.folder / "rejected.parquet").to_pylist()
    return [(row["source"], row["source_row"], row["reason"]) for row in found]
