import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks import picture, report
from benchmarks.peers import __main__ as peers
from benchmarks.peers.contenders import CONTENDERS, OURS, PEERS, Ours
from benchmarks.peers.exchange import settings_of
from benchmarks.peers.tasks import task_of
from benchmarks.record import Circumstances, read, record
from tests.tiny import write_dataset
from towers.cli.compose import composed
from towers.cli.verbs import VERBS
from towers.data import Dataset, Split
from towers.features import Catalogue, Mixed, Uniform
from towers.training import TrainConfig

SCORES = {"recall@100": 0.5, "recall@20": 0.25, "ndcg@10": 0.125, "hit@10": 0.75}
FACTS = {"version": "1", "fit_seconds": 2.0, "rank_seconds": 1.0, "examples_per_s": 41_500.0}


@pytest.mark.parametrize("name", list(PEERS))
def test_every_peer_has_a_script_requirements_and_settings(name: str) -> None:
    peer = PEERS[name]
    folder = Path(peers.__file__).parent
    assert (folder / f"{peer.script}.py").is_file()
    lines = (folder / "requirements" / f"{peer.environment}.txt").read_text().splitlines()
    assert all("==" in line for line in lines)
    assert settings_of(peer.words("ml-1m")) == {**peer.settings, **peer.of.get("ml-1m", {})}


@pytest.mark.parametrize(
    ("name", "protocol", "epochs", "sampler"),
    [
        ("towers-fast", "kuairand", 1, Mixed),
        ("towers-64", "kuairand", 6, Mixed),
        ("towers-fast", "ml-1m", 1, Uniform),
        ("towers-64", "ml-1m", 18, Catalogue),
    ],
)
def test_ours_are_the_recipes_of_their_protocol(name: str, protocol: str, epochs: int, sampler: type) -> None:
    config = composed(VERBS["train"], ["dataset=d", "run=r", *CONTENDERS[name].words(protocol)])
    assert isinstance(config, TrainConfig)
    assert (config.model.dim, config.optim.epochs) == (64, epochs)
    assert type(config.sampler) is sampler
    assert name in OURS


def test_a_command_that_fails_or_hangs_says_so(tmp_path: Path) -> None:
    with pytest.raises(peers.StoppedError, match="ended with 1, saying: too bad"):
        peers.limited([sys.executable, "-c", "raise SystemExit('too bad')"], 60, tmp_path / "log")
    with pytest.raises(peers.StoppedError, match=r"stopped after 0 s"):
        peers.limited([sys.executable, "-c", "input()"], 0.01, tmp_path / "log")


def test_an_environment_is_made_again_only_when_its_requirements_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(peers, "limited", lambda command, *_: asked.append(command))
    monkeypatch.setattr(peers, "REQUIREMENTS", tmp_path)
    (tmp_path / "one.txt").write_text("numpy==1")
    python = peers.environment("one", tmp_path / "made")
    assert python == tmp_path / "made" / "one" / "venv" / "bin" / "python"
    assert [command[2] for command in asked] == ["venv", "pip"]
    peers.environment("one", tmp_path / "made")
    assert len(asked) == 2
    (tmp_path / "one.txt").write_text("numpy==2")
    peers.environment("one", tmp_path / "made")
    assert len(asked) == 4


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What take_turn is given, with a place for its rows, a referee that is pleased, and a dataset."""
    monkeypatch.setattr(peers, "record", lambda name, rows, how: record(name, rows, how, tmp_path))
    monkeypatch.setattr(peers, "judged", lambda *_: SCORES)
    monkeypatch.setattr(peers, "environment", lambda *_: Path("python"))
    write_dataset(tmp_path / "dataset")
    return argparse.Namespace(protocol="kuairand", referee="", limit=60.0, environments=str(tmp_path))


def test_a_peers_turn_is_recorded_and_its_lists_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: argparse.Namespace
) -> None:
    def answers(command: list[str], *_: object) -> None:
        facts = json.dumps(FACTS | {"trained_at": 1e12, "peak_mb": 321.4})
        wanted = len(task_of(Dataset.open(tmp_path / "dataset"), Split.test).wanted)
        np.savez(command[4], ranked=np.tile([0, 1], (wanted, 1)), facts=facts)

    monkeypatch.setattr(peers, "limited", answers)
    peers.take_turn("recbole-bpr", 0, tmp_path, asked)
    (row,) = read("peers_measured", tmp_path)
    assert (row["contender"], row["version"], row["round"]) == ("recbole-bpr", "1", "0")
    assert (row["peak_mb"], row["examples_per_s"], row["ndcg@10"], row["note"]) == ("321", "41500.0", "0.125000", "")
    assert pq.read_table(tmp_path / "lists-recbole-bpr.parquet").column_names == ["user_id", "video_id", "rank"]


def test_a_peer_that_fails_leaves_a_row_that_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: argparse.Namespace
) -> None:
    def fails(*_: object) -> None:
        raise peers.StoppedError("stopped after 60 s")

    monkeypatch.setattr(peers, "limited", fails)
    peers.take_turn("recbole-bpr", 0, tmp_path, asked)
    (row,) = read("peers_measured", tmp_path)
    assert (row["recall@100"], row["fit_seconds"], row["note"]) == ("", "", "stopped after 60 s")
    table = report.peers_table("kuairand", tmp_path)
    assert "| RecBole 1.2.1 BPR | – | – | – | – | – | – | – | – | 1 | stopped after 60 s |" in table
    assert picture.measured("kuairand", "recall@100", tmp_path) == {}


def test_turns_alternate_and_the_slow_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    write_dataset(tmp_path / "dataset")
    monkeypatch.setattr(peers, "work_folder", lambda *_: tmp_path)
    monkeypatch.setattr(peers, "take_turn", lambda name, *_: turns.append(name))
    peers.main(["kuairand", "rectools-sasrec", "towers-fast", "implicit-als", "--rounds", "2"])
    assert turns == ["rectools-sasrec", "towers-fast", "implicit-als", "towers-fast", "implicit-als"]
    with pytest.raises(SystemExit):
        peers.main(["kuairand", "nobody"])


def test_the_table_and_the_picture_take_the_mean_of_the_turns_at_the_newest_commit(tmp_path: Path) -> None:
    for number, seconds in enumerate((3.0, 5.0)):
        row = peers.row_of("implicit-als", "kuairand", number, FACTS, SCORES)
        how = Circumstances(command="python -m benchmarks.peers kuairand", seed=0, seconds=seconds, peak_mb=100)
        record("peers_measured", [row], how, tmp_path)
    table = report.peers_table("kuairand", tmp_path)
    assert "| implicit ALS 0.7.3 | 0.5000 | 0.2500 | 0.1250 | 0.7500 | 3–5 | 2.0 | 42,000 | 100 | 2 |  |" in table
    assert "Command: `python -m benchmarks.peers kuairand`." in table
    assert picture.measured("kuairand", "recall@100", tmp_path) == {"implicit ALS 0.7.3": (4.0, 0.5)}
    assert report.peers_table("ml-1m", tmp_path) == "Not measured yet.\n"


def test_ours_choose_on_valid_by_themselves() -> None:
    assert isinstance(CONTENDERS["towers-64"], Ours)
    with pytest.raises(SystemExit, match="towers-64 chooses on valid by itself"):
        peers.choose("towers-64", Path(), argparse.Namespace())
