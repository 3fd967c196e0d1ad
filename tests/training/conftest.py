from pathlib import Path

import pytest

from tests.tiny import write_dataset
from towers.data import Dataset


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_dataset(Path(tmp_path_factory.mktemp("tiny")) / "dataset")
