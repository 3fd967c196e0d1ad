import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tests.tiny import ENCODERS, write_dataset
from tests.worlds import Event, write_world
from towers.cli.show import figures_of_run
from towers.data import TIME_UNKNOWN, Dataset, Split
from towers.evaluation import EvaluationSet, validate
from towers.features import BatchSource, Catalogue, FeatureTensors, Mixed, Requests, encode_table, spectral_vectors
from towers.losses import Bpr, Softmax
from towers.models import (
    MeanHistory,
    ModelConfig,
    PopularityTerm,
    RecencyHistory,
    TwoTower,
    load_towers,
    query_vectors,
    video_vectors,
)
from towers.training import Accelerator, OptimConfig, TrainConfig, train
from towers.training.checkpoint import WholeCheckpoints, read_checkpoint
from towers.training.journal import Row
from towers.training.module import TowersModule
from towers.training.stage import best_epoch
from towers.types import DAY_MS, ConfigError, DataError, Geometry, RunError


def config(dataset: Dataset, run: Path, **options: object) -> TrainConfig:
    given = {
        "model": ModelConfig(history=RecencyHistory(heads=2), dim=8, window=6),
        "loss": Softmax(),
        "sampler": Mixed(count=8),
        "optim": OptimConfig(epochs=3, patience=3, positions=64, learning_rate=0.02),
        "accelerator": Accelerator.cpu,
        "progress": False,
        "threads": 1,
    }
    return TrainConfig(dataset=str(dataset.folder), run=str(run), **(given | options))  # type: ignore[arg-type]


def same(one: TwoTower, two: TwoTower) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def journal(run: Path) -> list[dict[str, str]]:
    with (run / "history.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in {"seconds", "positions_per_s"}} for row in csv.DictReader(file)
        ]


def test_a_run_folder_says_what_was_done(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = train(config(tiny_dataset, tmp_path / "run"))
    rows = journal(run.folder)
    assert [(row["stage"], row["epoch"]) for row in rows[:3]] == [("fit", "1"), ("fit", "2"), ("fit", "3")]
    assert {row["stage"] for row in rows[3:]} == {"refit"}
    assert len(rows) == 5
    best = max(rows[:3], key=lambda row: float(row["recall@100"]))
    assert run.info["valid"]["recall@100"] == float(best["recall@100"])
    assert run.info["dataset_fingerprint"] == tiny_dataset.fingerprint
    assert run.info["refitted"] is True
    assert run.info["cost"]["seconds"] > 0
    assert run.dataset == tiny_dataset.folder.resolve()
    assert same(run.towers, load_towers(run.folder / "towers"))
    assert list((run.folder / "logs" / "fit").glob("events.out.tfevents*"))


def test_the_same_seed_gives_the_same_towers_and_another_does_not(tiny_dataset: Dataset, tmp_path: Path) -> None:
    one, two, other = (
        train(config(tiny_dataset, tmp_path / name, seed=seed, refit_epochs=0)).towers
        for name, seed in (("one", 3), ("two", 3), ("other", 4))
    )
    assert same(one, two)
    assert not same(one, other)


def test_training_learns(tiny_dataset: Dataset, tmp_path: Path) -> None:
    rows = journal(train(config(tiny_dataset, tmp_path / "run", refit_epochs=0)).folder)
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_a_refit_begun_anew_is_a_training_on_both_splits_for_the_chosen_epochs(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    # Ids that a refit admits begin with it, and would say nothing of where it begins.
    model = replace(config(tiny_dataset, tmp_path).model, id_min_count=1, temperature=0.07)
    run = train(config(tiny_dataset, tmp_path / "run", model=model, refit_afresh=True))
    rows = journal(run.folder)
    assert [row["stage"] for row in rows].count("refit") == run.info["best_epoch"]
    # It begins where a training begins, not where the first stage ended.
    losses = {stage: [float(row["loss"]) for row in rows if row["stage"] == stage] for stage in ("fit", "refit")}
    assert abs(losses["refit"][0] - losses["fit"][0]) < abs(losses["refit"][0] - losses["fit"][-1])


def test_a_refit_begun_anew_asks_for_a_refit(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"refit_epochs is 0, no refit, .* set refit_afresh=false too"):
        config(tiny_dataset, tmp_path / "run", refit_afresh=True, refit_epochs=0)


def test_in_closed_form_a_user_is_the_mean_of_what_they_watched(tiny_dataset: Dataset, tmp_path: Path) -> None:
    options = {
        "closed_form": True,
        "model": ModelConfig(history=MeanHistory(), dim=4, window=6),
        "optim": OptimConfig(),
    }
    run = train(config(tiny_dataset, tmp_path / "run", **options))
    assert [(row["stage"], row["epoch"], row["loss"]) for row in journal(run.folder)] == [
        ("fit", "0", ""),
        ("refit", "0", ""),
    ]
    assert run.info["best_epoch"] == 0
    assert run.info["config"]["model"]["features"] is False
    assert same(run.towers, train(config(tiny_dataset, tmp_path / "again", **options)).towers)
    both = tiny_dataset.positives(Split.train, Split.valid)
    rows, laid = len(tiny_dataset.videos), spectral_vectors(both, len(tiny_dataset.videos), 4, 0)
    vectors = run.towers.ids.weight.detach().numpy()
    watched = laid.any(1)
    assert np.allclose(vectors[watched], laid[watched], atol=1e-6)
    start = run.towers.start.detach().numpy()
    assert (vectors[~watched] == 0).all() if run.towers.config.leans else np.allclose(vectors[~watched], -10 * start)
    usual = np.bincount(both.video_row, minlength=rows) @ laid
    assert np.allclose(start, 0.1 * usual / np.linalg.norm(usual), atol=1e-6)
    lately = both.of(int(np.argmax(both.counts())))[-3:]
    events = torch.from_numpy(np.pad(laid[lately], ((0, 0), (0, 1))))[None]
    times = torch.full((1, 4), TIME_UNKNOWN)
    unknown = encode_table(ENCODERS.users, tiny_dataset.user_table()).tensors(np.array([1]))
    query = run.towers.eval().states(events, torch.tensor([[3]]), unknown, times)[0, 0].detach().numpy()
    mean = start + laid[lately].sum(0)
    assert np.allclose(query[:4], mean / np.linalg.norm(mean), atol=1e-6)


def test_closed_form_refuses_what_has_to_be_trained(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model/history is recency, which has to be trained, and closed_form"):
        train(config(tiny_dataset, tmp_path / "run", closed_form=True, optim=OptimConfig()))
    assert not (tmp_path / "run").exists()
    for told, options in (
        ("model.interests is 2 .* set model.interests=1", {"model": ModelConfig(history=MeanHistory(), interests=2)}),
        (
            "model.id_buckets is 8 .* model.id_buckets=0, or",
            {"model": ModelConfig(history=MeanHistory(), id_buckets=8)},
        ),
        (
            "model.user_id is true .* set model.user_id=false",
            {"model": ModelConfig(history=MeanHistory(), user_id=True)},
        ),
        (
            "model.spectral is false .* model.spectral=true, or",
            {"model": ModelConfig(history=MeanHistory(), spectral=False)},
        ),
        ("half_life_days is 3.0 .* set half_life_days=0, or closed_form=false", {"half_life_days": 3.0}),
        ("optim.epochs is 3 .* set optim.epochs=0, or closed_form=false", {"optim": OptimConfig(epochs=3)}),
        ("optim.find is true .* set optim.find=false, or closed_form=false", {"optim": OptimConfig(find=True)}),
        ("passed_each is 4 .* set passed_each=0, or closed_form=false", {"passed_each": 4}),
        ("passed_weight is 2.0 .* set passed_weight=1.0, or closed_form=false", {"passed_weight": 2.0}),
        ("shuffle is true .* set shuffle=false, or closed_form=false", {"shuffle": True}),
    ):
        with pytest.raises(ConfigError, match=told):
            config(tiny_dataset, tmp_path / "run", **({"closed_form": True, "optim": OptimConfig()} | options))


@pytest.mark.parametrize("popularity", [PopularityTerm.none, PopularityTerm.total])
@pytest.mark.parametrize("geometry", [Geometry.cosine, Geometry.dot])
def test_in_closed_form_what_nobody_watched_is_not_among_the_best(
    tmp_path: Path, popularity: PopularityTerm, geometry: Geometry
) -> None:
    watched: list[Event] = [(f"u{n}", f"v{(n + step) % 9:02d}", "train") for n in range(30) for step in range(4)]
    later: list[Event] = [(f"u{n}", f"v{(n + 5) % 9:02d}", "valid") for n in range(30)]
    dataset = write_world(tmp_path / "world", watched + later, videos=20)
    model = ModelConfig(history=MeanHistory(), dim=4, window=6, popularity=popularity, geometry=geometry)
    run = train(config(dataset, tmp_path / "run", closed_form=True, model=model, refit_epochs=0, optim=OptimConfig()))
    features = [encode_table((), table) for table in (dataset.user_table(), dataset.video_table())]
    vectors = video_vectors(run.towers, features[1])
    unwatched = np.setdiff1d(np.arange(2, len(vectors)), dataset.positives(Split.train).video_row)
    requests = Requests.without_times(np.array([[0, 0], [2, 3]]))
    scores = query_vectors(run.towers, vectors, requests, features[0].take(np.array([1, 2]))) @ vectors.T
    assert len(unwatched) >= 10
    order = 2 + np.argsort(-scores[:, 2:], kind="stable")
    assert not np.isin(order[:, :5], unwatched).any()
    if popularity is PopularityTerm.none:
        assert np.isin(order[0, -len(unwatched) :], unwatched).all()  # somebody new: opposite to the start is last


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import towers.training.journal as journal_module
from test_train import config
from towers.data import Dataset
from towers.training import train

plain_add = journal_module.Journal.add
def add(self, *arguments):
    plain_add(self, *arguments)
    if (self.stage, len(self.rows)) == {when!r}:
        os.kill(os.getpid(), signal.SIGKILL)
journal_module.Journal.add = add
train(config(Dataset.open({dataset!r}), Path({run!r})))
"""


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (("fit", 1), []),
        (("fit", 2), ["fit goes on after epoch 1"]),
        (("fit", 3), ["fit goes on after epoch 2"]),
        (("refit", 1), ["fit had ended after epoch 3"]),
    ],
)
def test_a_killed_run_goes_on_says_where_and_ends_where_an_unbroken_one_ends(
    when: tuple[str, int], told: list[str], tiny_dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train(config(tiny_dataset, tmp_path / "whole"))
    script = KILLED.format(
        tests=str(Path(__file__).parent), when=when, dataset=str(tiny_dataset.folder), run=str(tmp_path / "killed")
    )
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "killed" / "run.json").exists()
    capsys.readouterr()
    resumed = train(config(tiny_dataset, tmp_path / "killed", progress=True))
    assert [line for line in capsys.readouterr().err.splitlines() if "after epoch" in line] == told
    assert same(resumed.towers, whole.towers)
    assert journal(resumed.folder) == journal(whole.folder)


@pytest.mark.parametrize(
    ("shape", "taught"),
    [({"id_dropout": 0.0}, False), ({"id_dropout": 0.5}, True), ({"id_dropout": 0.0, "id_min_count": 2}, True)],
    ids=["no id is left out", "ids are left out", "some videos have none"],
)
def test_what_new_videos_are_is_learned_or_else_what_known_ones_have_in_common(
    tmp_path: Path, shape: dict[str, float], taught: bool
) -> None:
    watched = [("a", "v0"), ("a", "v1"), ("b", "v1"), ("b", "v2"), ("b", "v3"), ("c", "v2"), ("c", "v0")]
    events: list[Event] = [(user, video, "train") for user, video in watched]
    dataset = write_world(tmp_path / "dataset", [*events, ("a", "v2", "valid"), ("b", "v0", "valid")], 4)
    asked = config(dataset, tmp_path / "run", refit_epochs=0)
    model = replace(asked.model, features=False, **shape)  # type: ignore[arg-type]
    towers = train(replace(asked, model=model)).towers
    unknown, common = towers.ids.weight[1], towers.ids.weight[towers.known].mean(0)
    assert bool(torch.allclose(unknown, common, atol=1e-6)) is not taught


def test_a_finished_run_is_opened_not_trained_again(tiny_dataset: Dataset, tmp_path: Path) -> None:
    first = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    written = (first.folder / "towers" / "weights.safetensors").stat().st_mtime_ns
    again = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    assert (again.folder / "towers" / "weights.safetensors").stat().st_mtime_ns == written


def test_a_folder_that_holds_something_else_is_left_alone(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.md and is no run; choose another run=FOLDER"):
        train(config(tiny_dataset, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.md"]


def test_a_folder_of_other_options_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    with pytest.raises(
        RunError,
        match=r"with other options: seed was 0 and is now 9; choose another run=FOLDER, or delete that one; "
        "with seed=0 it goes on$",
    ):
        train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, seed=9))
    optim = replace(config(tiny_dataset, tmp_path).optim, patience=4)
    with pytest.raises(
        RunError,
        match=r"other options: optim.patience was 3 and is now 4, seed was 0 and is now 9; choose another run=FOLDER, "
        "or delete that one; with optim.patience=3 seed=0 it goes on$",
    ):
        train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, seed=9, optim=optim))


def test_a_page_of_options_of_something_else_is_left_alone(tiny_dataset: Dataset, tmp_path: Path) -> None:
    for text in ("{", "[1]", '{"seed": 0}'):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(RunError, match=r"config\.json is not of a run of towers; choose another run=FOLDER"):
            train(config(tiny_dataset, tmp_path))
        assert (tmp_path / "config.json").read_text() == text


def test_weights_without_figures_are_not_gone_on_with_under_other_options(
    tiny_dataset: Dataset, tmp_path: Path
) -> None:
    run = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    for name in ("history.csv", "run.json"):
        (run.folder / name).unlink()
    with pytest.raises(RunError, match="seed was 0 and is now 9"):
        train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, seed=9))


def test_seeds_are_those_that_a_generator_takes(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed is 4294967296; expected at most 4294967295"):
        config(tiny_dataset, tmp_path / "run", seed=2**32)


def test_what_was_passed_over_must_be_there(tmp_path: Path) -> None:
    splits = ("train", "train", "valid")
    positives: list[Event] = [(f"u{n}", f"v{(n + at) % 9:02d}", splits[at]) for n in range(9) for at in range(3)]
    dataset = write_world(tmp_path / "world", positives, videos=9)
    for told, options in (("passed_each is 4", {"passed_each": 4}), ("passed_weight is 2.0", {"passed_weight": 2.0})):
        with pytest.raises(
            DataError, match=f"{told}, and .* has nothing in train that users were shown and passed over"
        ):
            train(config(dataset, tmp_path / "run", **options))


def test_options_with_which_nothing_was_learned_give_way_to_others(tiny_dataset: Dataset, tmp_path: Path) -> None:
    failing = config(tiny_dataset, tmp_path / "run", seed=9)
    failing.optim.learning_rate = 1e38
    with pytest.raises(RunError, match=r"loss"):
        train(failing)
    assert train(config(tiny_dataset, tmp_path / "run", refit_epochs=0)).info["seed"] == 0


def test_a_run_of_another_dataset_is_not_gone_on_with(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    events: list[Event] = [(f"u{n}", f"v{n + at:02d}", ("train", "valid")[at]) for n in range(8) for at in range(2)]
    other = write_world(tmp_path / "world", events, videos=9)
    with pytest.raises(RunError, match=r"holds a run on another dataset than .*world, or that was prepared anew since"):
        train(config(other, tmp_path / "run", refit_epochs=0))


def test_a_run_older_than_an_option_goes_on_with_its_default(tiny_dataset: Dataset, tmp_path: Path) -> None:
    train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    page = tmp_path / "run" / "config.json"
    told = json.loads(page.read_text())
    del told["optim"]["steer"], told["passed_each"], told["model"]["interests"]
    page.write_text(json.dumps(told))
    assert train(config(tiny_dataset, tmp_path / "run", refit_epochs=0)).info["chosen_by"] == "valid recall@100"
    other = OptimConfig(epochs=3, patience=3, positions=64, learning_rate=0.02, steer="hit@10")
    with pytest.raises(RunError, match=r"other options: optim.steer was recall@100 and is now hit@10"):
        train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, optim=other))
    with pytest.raises(RunError, match=r"other options: passed_each was 0 and is now 4"):
        train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, passed_each=4))


def test_training_stops_when_valid_no_longer_improves(tiny_dataset: Dataset, tmp_path: Path) -> None:
    optim = OptimConfig(epochs=50, patience=2, positions=64, learning_rate=0.05)
    run = train(config(tiny_dataset, tmp_path / "run", optim=optim, refit_epochs=0))
    epochs = len(journal(run.folder))
    assert epochs == run.info["best_epoch"] + 2
    assert epochs < 50


@pytest.mark.parametrize("figure", ["recall@100", "recall@20", "ndcg@10", "hit@10"])
def test_the_figure_that_steers_chooses_the_epoch(tiny_dataset: Dataset, tmp_path: Path, figure: str) -> None:
    optim = OptimConfig(epochs=6, patience=6, positions=64, learning_rate=0.05, steer=figure)
    model = ModelConfig(history=RecencyHistory(heads=2), dim=8, window=6, popularity=PopularityTerm.none)
    run = train(config(tiny_dataset, tmp_path / "run", optim=optim, model=model, refit_epochs=0))
    figures = [float(row[figure]) for row in journal(run.folder)]
    assert run.info["best_epoch"] == 1 + figures.index(max(figures))
    assert run.info["chosen_by"] == f"valid {figure}"
    assert run.info["valid"][figure] == max(figures)
    assert next(iter(figures_of_run(run))) == f"valid {figure}"
    assert "popularity" not in figures_of_run(run)  # which these towers have no term for
    encoders, users = tiny_dataset.encoders, EvaluationSet.of(tiny_dataset, Split.valid)
    tables = (
        encode_table(encoders.users, tiny_dataset.user_table()),
        encode_table(encoders.videos, tiny_dataset.video_table()),
    )
    assert validate(run.towers, users, *tables)[figure] == pytest.approx(max(figures))


def test_a_loss_that_is_no_number_stops_with_step_and_cause(tiny_dataset: Dataset, tmp_path: Path) -> None:
    optim = OptimConfig(epochs=3, positions=64, learning_rate=1e30, clip=0.0)
    with pytest.raises(
        RunError,
        match=r"the loss is nan at epoch 1, step 2: the scores overflow; lower optim\.learning_rate \(1e\+30\)",
    ):
        train(config(tiny_dataset, tmp_path / "run", optim=optim))


def test_weights_that_are_no_number_are_named(tiny_dataset: Dataset, tmp_path: Path) -> None:
    towers = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0)).towers
    torch.nn.init.constant_(towers.join[0].bias, torch.inf)  # type: ignore[arg-type]
    tables = (
        encode_table(ENCODERS.users, tiny_dataset.user_table()),
        encode_table(ENCODERS.videos, tiny_dataset.video_table()),
    )
    batch = next(
        BatchSource(
            tiny_dataset.positives(), *tables, np.arange(2, len(tiny_dataset.videos)), Mixed(count=4), towers.window, 64
        ).epoch(0, 0)
    )
    module = TowersModule(towers, Softmax(), OptimConfig(learning_rate=0.002), 0, lambda *_: False)
    with pytest.raises(
        RunError, match=r"step 7: the weights join\.0\.bias are not finite; lower optim\.learning_rate \(0\.002\)"
    ):
        module.training_step(batch, 6)
    # On a GPU steps with its slopes have been taken by then: that weights are no numbers is no cause any more.
    late = module.cause(batch, late=True)
    assert late.startswith(
        "the batch is finite, so weights or scores have overflowed: lower optim.learning_rate (0.002)"
    )
    codes = batch.users.codes
    spoilt = replace(
        batch, users=FeatureTensors(batch.users.rows, codes, (), (torch.full((len(codes), 2), torch.nan),))
    )
    for late_or_not in (True, False):
        assert module.cause(spoilt, late_or_not) == (
            "a user's content vector is not finite; mend the users table and prepare again"
        )


def test_a_checkpoint_cut_short_is_named(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = train(config(tiny_dataset, tmp_path / "run"))
    (run.folder / "run.json").unlink()
    last = run.folder / "checkpoints" / "refit" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(RunError, match=r"last\.ckpt cannot be read \(.*\); delete .*refit to begin that stage anew"):
        train(config(tiny_dataset, tmp_path / "run"))


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    with pytest.raises(AttributeError):
        WholeCheckpoints().save_checkpoint({"epoch": lambda: 2}, path)
    assert read_checkpoint(path) == {"epoch": 1}


def test_two_processes_do_not_train_in_one_folder(tiny_dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(
            RunError, match=r"another process trains in .*run; wait for it, or choose another run=FOLDER"
        ):
            train(config(tiny_dataset, tmp_path / "run"))


def test_a_run_goes_on_when_the_dataset_is_named_otherwise(
    tiny_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    monkeypatch.chdir(tiny_dataset.folder.parent)
    relative = Dataset.open(tiny_dataset.folder.name)
    assert train(config(relative, tmp_path / "run", refit_epochs=0)).info["seed"] == 0


def test_what_was_passed_over_counts_where_it_is_asked_to(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "dataset")
    events = pq.read_table(dataset.folder / "events.parquet")
    taken = pa.array([row % 3 > 0 or row % 2 == 0 for row in range(len(events))])
    place = events.schema.get_field_index("positive")
    pq.write_table(events.set_column(place, "positive", taken), dataset.folder / "events.parquet")
    small = {"sampler": Catalogue(), "refit_epochs": 0, "optim": OptimConfig(epochs=1, positions=64)}
    one, three = (
        train(config(dataset, tmp_path / f"weight {weight}", passed_weight=weight, **small)).towers
        for weight in (1.0, 3.0)
    )
    assert not same(one, three)
    drawn, certain = (
        train(
            config(dataset, tmp_path / f"each {each}", passed_each=each, **small | {"sampler": Mixed(count=1)})
        ).towers
        for each in (0, 9)
    )
    assert not same(drawn, certain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passed_weight": 0.0}, r"passed_weight is 0\.0; expected above 0, and 1 for no difference"),
        ({"passed_weight": 2.0, "loss": Bpr()}, r"passed_weight is 2\.0; expected 1, since .* take loss=softmax"),
    ],
)
def test_a_weight_of_what_was_passed_over_out_of_range_is_refused(
    options: dict[str, object], message: str, tiny_dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        config(tiny_dataset, tmp_path, **options)


def test_weights_of_nought_are_left_out_and_refused_where_there_are_no_others(tmp_path: Path) -> None:
    some = reweighed(tmp_path / "some", lambda row: float(row % 7 == 0))
    run = train(config(some, tmp_path / "run", optim=OptimConfig(epochs=1, positions=8), refit_epochs=0))
    assert float(journal(run.folder)[0]["loss"]) > 0
    none = reweighed(tmp_path / "none", lambda _: 0.0)
    with pytest.raises(DataError, match=r"has no positive event of a weight above 0 in train; look at data\.positive"):
        train(config(none, tmp_path / "other"))


def reweighed(folder: Path, weight: Callable[[int], float]) -> Dataset:
    dataset = write_dataset(folder)
    events = pq.read_table(folder / "events.parquet")
    amounts = pa.array([weight(row) for row in range(len(events))], pa.float32())
    place = events.schema.get_field_index("weight")
    pq.write_table(events.set_column(place, "weight", amounts), folder / "events.parquet")
    return dataset


def test_the_earliest_of_equal_epochs_is_the_best() -> None:
    rows: list[Row] = [
        {"epoch": place + 1, "hit@10": hit, "ndcg@10": -hit} for place, hit in enumerate((0.1, 0.3, 0.3))
    ]
    assert [best_epoch(rows, figure) for figure in ("hit@10", "ndcg@10")] == [2, 1]
    assert best_epoch([], "hit@10") == 0
    # By other users, 3 × 1/3 of four: Lightning compares in float32, and keeps the first.
    assert best_epoch([{"epoch": 1, "hit@10": 0.24999999999999994}, {"epoch": 2, "hit@10": 0.25}], "hit@10") == 1


@pytest.mark.parametrize("least", [1, 3])
def test_ids_met_too_rarely_in_training_are_not_known(least: int, tiny_dataset: Dataset, tmp_path: Path) -> None:
    model = ModelConfig(history=MeanHistory(), dim=8, id_min_count=least)
    towers = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, model=model)).towers
    counts = np.bincount(tiny_dataset.positives(Split.train).video_row)
    assert 0 < (counts >= least).sum() < len(towers.known) - 2
    assert np.flatnonzero(towers.known.numpy()).tolist() == np.flatnonzero(counts >= least).tolist()


def test_a_batch_of_users_who_watched_one_video_is_learned_from(tmp_path: Path) -> None:
    events: list[Event] = [("a", "v00", "train"), ("b", "v01", "train"), ("a", "v01", "valid"), ("b", "v02", "test")]
    dataset = write_world(tmp_path / "dataset", events, 3)
    assert len(train(config(dataset, tmp_path / "run")).info["valid"])


def test_popularity_in_total_is_that_of_all_views(tiny_dataset: Dataset, tmp_path: Path) -> None:
    model = ModelConfig(history=MeanHistory(), dim=8, window=6, popularity=PopularityTerm.total)
    towers = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, model=model)).towers
    counts = np.bincount(tiny_dataset.positives(Split.train).video_row, minlength=len(towers.known))[2:]
    level = towers.level[2:].numpy()
    assert np.allclose(level - level[0], np.log((counts + 1) / (counts[0] + 1)), atol=1e-5)
    assert towers.dim == 9


def test_a_video_not_watched_for_long_has_no_id_of_its_own(tiny_dataset: Dataset, tmp_path: Path) -> None:
    positives = tiny_dataset.positives(Split.train)
    newest = np.full(len(tiny_dataset.videos), -1)
    np.maximum.at(newest, positives.video_row, positives.time_ms)
    days = float(positives.time_ms.max() - np.median(newest[newest >= 0])) / DAY_MS
    model = ModelConfig(history=MeanHistory(), dim=8, window=6, id_min_count=1, id_expiry_days=days)
    towers = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0, model=model)).towers
    fresh = np.flatnonzero(newest >= positives.time_ms.max() - int(days * DAY_MS))
    assert 0 < len(fresh) < (newest >= 0).sum()
    assert np.flatnonzero(towers.known.numpy()).tolist() == fresh.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, r"optim\.learning_rate is 0\.0; expected above 0"),
        ({"epochs": -1}, r"optim\.epochs is -1; expected at least 0"),
        ({"steer": "mrr"}, r"optim\.steer is 'mrr'; expected recall@100, recall@20, ndcg@10 or hit@10"),
        ({"clip": -1.0}, r"optim\.clip is -1\.0; expected at least 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OptimConfig(**options)  # type: ignore[arg-type]


def test_a_seed_below_nought_is_refused(tiny_dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="seed is -1; expected at least 0"):
        config(tiny_dataset, tmp_path, seed=-1)


def test_run_json_is_plain(tiny_dataset: Dataset, tmp_path: Path) -> None:
    run = train(config(tiny_dataset, tmp_path / "run", refit_epochs=0))
    plain = json.loads((run.folder / "run.json").read_text())["config"]
    assert plain["loss"] == {"kind": "softmax", "label_smoothing": 0.0}
    assert plain["sampler"] == {"kind": "mixed", "count": 8}
    assert plain["model"]["history"] == {"kind": "recency", "heads": 2}
    assert plain["accelerator"] == "cpu"
