"""Shapes and types in signatures are checked in every test; property tests try the same examples every time."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("towers", "beartype.beartype").__enter__()

os.environ["PYTHONFAULTHANDLER"] = "1"  # a process of a test that is killed by a fault says where it was

settings.register_profile("towers", deadline=None, derandomize=True, max_examples=30)
settings.load_profile("towers")


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset of a few users; see tiny.py."""
    from tests import tiny

    return tiny.write_dataset(tmp_path_factory.mktemp("tiny") / "dataset").folder


@pytest.fixture(scope="session")
def tiny_run(tiny_dataset: Path) -> Path:
    """The folder of an untrained run on that dataset."""
    from tests import tiny
    from towers.data import Dataset

    return tiny.write_run(tiny_dataset.with_name("run"), Dataset.open(tiny_dataset))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path) -> Path:
    """The root of a bundle of that run, to be read and not to be changed."""
    from towers.index import Exact
    from towers.publishing import PublishConfig, publish

    root = tiny_run.with_name("bundle")
    publish(PublishConfig(run=str(tiny_run), bundle=str(root), index=Exact()))
    return root
