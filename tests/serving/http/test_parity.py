"""The service answers with the lists of the offline evaluation, for every user and in the same state."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.parity import compared, events_of, having, offline, served, user_ids
from tests import tiny
from tests.serving.http.conftest import Start
from towers.data import Dataset, Split
from towers.data.vocabulary import FIRST_ROW
from towers.evaluation import EvaluateConfig, evaluate
from towers.index import Exact
from towers.models import open_run
from towers.publishing import Histories, PublishConfig, publish


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "texts"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a tiny dataset whose ids are numbers, or texts."""
    folder = tmp_path_factory.mktemp("parity")
    return tiny.write_run(folder / "run", tiny.write_dataset(folder / "dataset", string=request.param))


@pytest.fixture(scope="module")
def past(run: Path) -> Path:
    """A bundle that knows what the evaluation knows of users: what came before test."""
    root = run.with_name("bundle")
    publish(PublishConfig(run=str(run), bundle=str(root), index=Exact(), histories=Histories.past))
    return root


def test_every_user_gets_the_list_that_the_evaluation_wrote(run: Path, past: Path, start: Start) -> None:
    file = run.with_name("lists.parquet")
    evaluate(EvaluateConfig(run=str(run), lists=str(file), floors=["popular"], draws=2, examples=0))
    wanted: dict[int | str, list[tuple[int | str, float]]] = {}
    for row in pq.read_table(file).to_pylist():
        wanted.setdefault(row["user_id"], []).append((row["video_id"], row["score"]))
    assert len(wanted) > tiny.USERS / 2
    for found, listed in zip(served(start(past), list(wanted)), wanted.values(), strict=True):
        ids, scores = zip(*listed, strict=True)
        assert found.ids == list(ids)
        assert found.scores == pytest.approx(scores, abs=1e-6)


def test_everybody_gets_the_evaluations_list_before_and_after_the_events_held_out(
    run: Path, past: Path, start: Start
) -> None:
    opened, client = open_run(str(run)), start(past)
    dataset = Dataset.open(opened.dataset)
    users = np.arange(FIRST_ROW, len(dataset.users))
    names = user_ids(dataset, users)
    known, everything = dataset.positives(Split.train, Split.valid), dataset.positives(*Split)
    before = offline(opened.towers, having(dataset, users, known), dataset)
    after = offline(opened.towers, having(dataset, users, everything), dataset)
    alike = {"equal": "1.0000", "equal_up_to_ties": "1.0000", "recall@100": "1.0000"}
    said = compared(before, served(client, names))
    assert alike.items() <= said.items()
    assert float(str(said["score_apart"])) < 1e-6
    told = events_of(dataset, users, Split.test)
    assert client.events(told) == {"new": len(told), "repeated": 0, "unknown_videos": 0}
    assert float(str(compared(after, served(client, names))["score_apart"])) < 1e-6
    assert alike.items() <= compared(after, served(client, names)).items()
    changed = [b.ids != a.ids for b, a in zip(before, after, strict=True)]
    assert sum(changed) >= len({each["user_id"] for each in told}) - 1  # who has watched all is shown nothing, twice
