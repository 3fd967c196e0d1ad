"""Hard candidates: what the towers rank first, and a run that was killed goes on with the same ones."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny import ENCODERS
from towers.data import Dataset, Split
from towers.features import FeatureTable, Hard, Queued, Requests, Sampler, Step, encode_table
from towers.index import Exact
from towers.losses import Softmax
from towers.models import MeanHistory, ModelConfig, TwoTower, query_vectors, video_vectors
from towers.training import Accelerator, OptimConfig, TrainConfig, train
from towers.training.miner import Miner
from towers.types import RunError

ELIGIBLE = np.r_[2:20, 23:42]


def towers_of(dataset: Dataset) -> TwoTower:
    torch.manual_seed(0)
    model = ModelConfig(history=MeanHistory(), dim=8, window=5)
    return TwoTower(model, dataset.encoders, torch.ones(len(dataset.videos), dtype=torch.bool)).train()


def miner_of(dataset: Dataset, towers: TwoTower) -> tuple[Miner, FeatureTable, FeatureTable]:
    users = encode_table(ENCODERS.users, dataset.user_table())
    videos = encode_table(ENCODERS.videos, dataset.video_table())
    return Miner(towers, dataset.positives(Split.train), users, videos, ELIGIBLE), users, videos


def step_of(dataset: Dataset, users: np.ndarray) -> Step:
    positives = dataset.positives(Split.train)
    history = np.zeros((len(users), 3), np.int64)
    for line, user in enumerate(users):
        read = positives.of(user)[:3]
        history[line, : len(read)] = read
    nothing = np.zeros(0, np.int64)
    return Step(number=0, targets=nothing, earlier=nothing, users=users, history=history)


def test_finds_what_the_towers_rank_first_and_the_user_does_not_know(tiny_dataset: Dataset) -> None:
    towers = towers_of(tiny_dataset)
    mine, users, videos = miner_of(tiny_dataset, towers)
    step = step_of(tiny_dataset, np.array([5, 4, 9, 3]))
    found = mine(step, askers=10, each=4, afresh=True)
    assert found.shape == (4, 4)
    vectors = video_vectors(towers, videos)
    scores = query_vectors(towers, vectors, Requests.without_times(step.history), users.take(step.users)) @ vectors.T
    for line, user in enumerate(step.users):
        left = [row for row in ELIGIBLE if row not in tiny_dataset.positives(Split.train).of(user)]
        assert found[line].tolist() == sorted(left, key=lambda row: -scores[line, row])[:4]
    assert towers.training


def test_asks_for_some_when_not_for_all(tiny_dataset: Dataset) -> None:
    mine, _, _ = miner_of(tiny_dataset, towers_of(tiny_dataset))
    users = np.arange(2, 12)
    step = step_of(tiny_dataset, users)
    every = mine(step, askers=10, each=2, afresh=True)
    assert np.array_equal(mine(step, askers=3, each=2, afresh=False), every[[0, 3, 6]])


def test_vectors_are_asked_from_the_next_call_on_that_wants_new_ones_and_made_ready_beside_training(
    tiny_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    towers = towers_of(tiny_dataset)
    mine, _, _ = miner_of(tiny_dataset, towers)
    first = step_of(tiny_dataset, np.arange(2, 26))
    later = replace(first, number=7)
    built: list[bool] = []
    plain = Exact.build

    def build(*those: Any) -> Any:  # noqa: ANN401 - what build takes and gives
        built.append(current_thread() is main_thread())
        return plain(*those)

    monkeypatch.setattr(Exact, "build", build)

    def other() -> None:
        torch.nn.init.normal_(towers.ids.weight)

    def found(step: Step, afresh: bool = True) -> list[list[int]]:
        return mine(step, 24, 3, afresh).tolist()

    def told(vectors: np.ndarray) -> list[list[int]]:
        _, users, _ = miner_of(tiny_dataset, towers)
        queries = query_vectors(towers, vectors, Requests.without_times(first.history), users.take(first.users))
        known = [tiny_dataset.positives(Split.train).of(user).astype(np.int64) for user in first.users]
        return (
            plain(Exact(), vectors[ELIGIBLE], ELIGIBLE, towers.geometry).search(queries, 3, exclude=known).ids.tolist()
        )

    videos = encode_table(ENCODERS.videos, tiny_dataset.video_table())
    one = video_vectors(towers, videos)
    assert found(first) == told(one)
    other()
    two = video_vectors(towers, videos)
    assert found(later, afresh=False) == told(one)
    assert found(later) == told(one) != told(two)
    other()
    three = video_vectors(towers, videos)
    assert found(later, afresh=False) == told(one)
    assert found(later) == told(two)
    assert found(first) == told(three) != told(two)  # another epoch begins
    other()
    assert found(later) == told(three)
    assert built.count(True) == 2
    assert False in built


def test_towers_that_have_diverged_are_told_of(tiny_dataset: Dataset) -> None:
    towers = towers_of(tiny_dataset)
    mine, _, _ = miner_of(tiny_dataset, towers)
    torch.nn.init.constant_(towers.ids.weight, torch.nan)
    with pytest.raises(
        RunError, match=r"no hard candidates can be found: the vector of video .* lower optim\.learning_rate"
    ):
        mine(step_of(tiny_dataset, np.array([3])), 1, 1, afresh=True)


def config(dataset: Dataset, run: Path, sampler: Sampler) -> TrainConfig:
    return TrainConfig(
        dataset=str(dataset.folder),
        run=str(run),
        model=ModelConfig(history=MeanHistory(), dim=8, window=4),
        loss=Softmax(),
        sampler=sampler,
        optim=OptimConfig(epochs=3, patience=3, positions=8, learning_rate=0.02),
        accelerator=Accelerator.cpu,
        progress=False,
        threads=1,
        refit_epochs=1,
    )


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_miner import SAMPLERS_WITH_A_PAST, config
from towers.data import Dataset
from towers.training import train
from towers.training.module import TowersModule

plain_step = TowersModule.training_step
def step(self, batch, index):
    if (self.current_epoch, index) == (1, 5):
        os.kill(os.getpid(), signal.SIGKILL)
    return plain_step(self, batch, index)
TowersModule.training_step = step
train(config(Dataset.open({dataset!r}), Path({run!r}), SAMPLERS_WITH_A_PAST[{kind!r}]))
"""
SAMPLERS_WITH_A_PAST: dict[str, Sampler] = {
    "queued": Queued(count=4, batches=2),
    "hard": Hard(count=4, askers=2, each=3, every=3),
}


@pytest.mark.parametrize("kind", SAMPLERS_WITH_A_PAST)
def test_killed_in_the_middle_of_an_epoch_it_ends_where_an_unbroken_one_ends(
    kind: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    whole = train(config(tiny_dataset, tmp_path / "whole", SAMPLERS_WITH_A_PAST[kind])).towers.state_dict()
    script = KILLED.format(
        tests=str(Path(__file__).parent), kind=kind, dataset=str(tiny_dataset.folder), run=str(tmp_path / "killed")
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = train(config(tiny_dataset, tmp_path / "killed", SAMPLERS_WITH_A_PAST[kind])).towers.state_dict()
    assert all(torch.equal(resumed[name], weights) for name, weights in whole.items())
