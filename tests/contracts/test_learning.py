"""Every loss, sampler and encoder finds a taste that popularity does not see; own vectors one that windows hide."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worlds import Event, write_world
from towers.data import Dataset, Split
from towers.evaluation import EvaluationSet
from towers.features import SAMPLERS, Catalogue, Requests, Sampler, encode_table
from towers.losses import LOSSES, Loss, Softmax
from towers.models import HISTORIES, MeanHistory, ModelConfig, load_towers, query_vectors, video_vectors
from towers.training import Accelerator, OptimConfig, TrainConfig, train

TASTES, VIDEOS, USERS, WATCHED = 4, 100, 80, 12


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every user watches some of a quarter of the videos; the last two views are held out."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for user in range(USERS):
        own = np.arange(user % TASTES, VIDEOS, TASTES)
        for place, video in enumerate(rng.choice(own, WATCHED, replace=False)):
            split = "train" if place < WATCHED - 2 else "valid"
            events.append((f"u{user:02d}", f"v{video:02d}", split, 86_400_000 * place))
    return write_world(tmp_path_factory.mktemp("tastes") / "dataset", events, VIDEOS)


@pytest.fixture(scope="module")
def popular(world: Dataset) -> float:
    """What the list of the most watched videos recalls in its first 20, what the user knows left out."""
    past, future = world.positives(Split.train), world.positives(Split.valid)
    order = np.argsort(-np.bincount(past.video_row, minlength=VIDEOS + 2)[2:], kind="stable") + 2
    recalls = []
    for user in np.flatnonzero(future.counts()):
        shown = order[~np.isin(order, past.of(user))][:20]
        recalls.append(np.isin(future.of(user), shown).mean())
    return float(np.mean(recalls))


def recall(world: Dataset, run: Path, loss: Loss, sampler: Sampler, **shape: Any) -> float:  # noqa: ANN401 - a model's
    """What the towers of the last epoch recall in their first 20."""
    common: dict[str, Any] = {
        "history": MeanHistory(),
        "window": 12,
        "temperature": 0.2,
        "id_dropout": 0.0,
        "spectral": False,
    }
    config = TrainConfig(
        dataset=str(world.folder),
        run=str(run),
        model=ModelConfig(dim=16, **(common | shape)),
        loss=loss,
        sampler=sampler,
        optim=OptimConfig(epochs=6, patience=6, positions=64, learning_rate=0.02),
        refit_epochs=0,
        accelerator=Accelerator.cpu,
        progress=False,
        threads=1,
    )
    folder = train(config).folder
    with (folder / "history.csv").open(newline="") as file:
        return float(list(csv.DictReader(file))[-1]["recall@20"])


@pytest.mark.parametrize("kind", LOSSES)
def test_every_loss_learns(kind: str, world: Dataset, popular: float, tmp_path: Path) -> None:
    found = recall(world, tmp_path / "run", LOSSES[kind](), Catalogue())
    assert found > 2 * popular, (found, popular)


@pytest.mark.parametrize("kind", SAMPLERS)
def test_every_sampler_teaches(kind: str, world: Dataset, popular: float, tmp_path: Path) -> None:
    variant = SAMPLERS[kind]
    few = {"count": 20} if "count" in vars(variant()) else {}
    found = recall(world, tmp_path / "run", Softmax(), variant(**few))
    assert found > 2 * popular, (found, popular)


@pytest.mark.parametrize("kind", [kind for kind in HISTORIES if kind != "auto"])
def test_every_encoder_learns(kind: str, world: Dataset, popular: float, tmp_path: Path) -> None:
    found = recall(world, tmp_path / "run", Softmax(), Catalogue(), history=HISTORIES[kind]())
    assert found > 2 * popular, (found, popular)


SHARED = 20
"""Videos that everybody watches, whatever their taste."""


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """After every two videos that say nothing comes one of the user's taste; the last of those is held out."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for user in range(USERS):
        own = SHARED + np.arange(user % TASTES, VIDEOS - SHARED, TASTES)
        for number, video in enumerate(rng.choice(own, WATCHED, replace=False)):
            for step, watched in enumerate([*rng.choice(SHARED, 2, replace=False), video]):
                split = "train" if number < WATCHED - 1 or step < 2 else "valid"
                events.append((f"u{user:02d}", f"v{watched:02d}", split, 86_400_000 * (3 * number + step)))
    return write_world(tmp_path_factory.mktemp("hidden") / "dataset", events, VIDEOS)


def test_users_own_vectors_hold_a_taste_that_their_windows_hide(hidden: Dataset, tmp_path: Path) -> None:
    """Of 20 videos of a taste 9 are left, of all tastes 69: who cannot tell them apart recalls .29."""
    without, with_own = (
        recall(hidden, tmp_path / f"{own}", Softmax(), Catalogue(), window=2, user_id=own) for own in (False, True)
    )
    assert without < 0.35
    assert with_own > 2 * without, (with_own, without)


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Every user has two tastes and watches of both in turn; the last view of each is held out."""
    rng = np.random.default_rng(0)
    events: list[Event] = []
    for user in range(USERS):
        tastes = [np.arange((user + which) % TASTES, VIDEOS, TASTES) for which in (0, 1 + user // TASTES % 3)]
        both = [rng.choice(own, WATCHED // 2, replace=False) for own in tastes]
        for number in range(WATCHED // 2):
            for which, video in enumerate(both):
                split = "train" if number < WATCHED // 2 - 1 else "valid"
                time_ms = 86_400_000 * (2 * number) + which
                events.append((f"u{user:02d}", f"v{video[number]:02d}", split, time_ms))
    return write_world(tmp_path_factory.mktemp("torn") / "dataset", events, VIDEOS)


def test_several_interests_learn_and_each_finds_a_part(torn: Dataset, popular: float, tmp_path: Path) -> None:
    found = recall(torn, tmp_path / "run", Softmax(), Catalogue(), interests=2)
    assert found > 1.5 * popular, (found, popular)
    towers, users = load_towers(tmp_path / "run" / "towers"), EvaluationSet.of(torn, Split.valid)
    vectors = video_vectors(towers, encode_table(torn.encoders.videos, torn.video_table()))
    past = users.history_offsets, users.history, users.history_time_ms
    requests = Requests.of(*past, np.arange(len(users)), towers.window)
    about = encode_table(torn.encoders.users, torn.user_table()).take(users.users)
    queries = query_vectors(towers, vectors, requests, about)
    wanted = vectors[users.truth.reshape(-1, 2)]
    nearer = np.einsum("qid,qtd->qti", queries, wanted).argmax(-1)
    assert 0.1 < nearer.mean() < 0.9
