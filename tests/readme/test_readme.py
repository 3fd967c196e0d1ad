"""What the README says is run: its Python, its commands, its loss."""

import inspect
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.contracts import test_losses as contract
from tests.readme.blocks import README, blocks
from tests.small import publish_small, write_log
from towers.cli import main
from towers.cli.compose import composed
from towers.cli.verbs import VERBS
from towers.losses import Loss

CHECKOUT = README.parent


def commands(text: str) -> list[list[str]]:
    joined = text.replace("\\\n", " ")
    return [words[1:] for line in joined.splitlines() if (words := shlex.split(line, comments=True))[:1] == ["towers"]]


def test_the_python_example_runs_on_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publish_small(tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    exec(compile(blocks("python")[0], "README.md", "exec"), {})  # noqa: S102
    first, way, similar, shapes = capsys.readouterr().out.splitlines()
    assert len(re.findall(r"\d+", first.partition("]")[0])) == 5
    assert way.startswith("history [")
    assert len(similar.split()) >= 3
    assert shapes == "(1, 9) (5, 9)"  # one of them for popularity


def test_the_whole_way_by_dataclasses_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_log(tmp_path))
    block = "\n".join(blocks("python")[1:3])
    large, small = 'run="runs/own/run")).v', 'run="runs/own/run", draws=20)).v'
    assert large in block
    exec(compile(block.replace(large, small), "README.md", "exec"), {})  # noqa: S102
    verdict, version = capsys.readouterr().out.splitlines()[-2:]
    assert verdict.startswith("The towers")
    assert version.startswith("000001-")
    assert json.loads((tmp_path / "runs/own/gated/towers/model.json").read_text())["dim"] == 32


def test_the_living_index_finds_what_was_put_and_leaves_out_what_was_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks("python") if "Live.create" in block]
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)  # noqa: S102
    vectors, found = names["vectors"], names["hits"].ids[0]  # type: ignore[attr-defined]
    even = [row for row in np.argsort(-(vectors @ vectors[0]), kind="stable").tolist() if row % 2 == 0]  # type: ignore[index]
    assert found.tolist() == even[:10]
    assert capsys.readouterr().out.endswith(" 1.0\n")


def test_the_commands_for_ones_own_log_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = [block for block in blocks("bash") if "data=files" in block]
    monkeypatch.chdir(write_log(tmp_path))
    views = pq.read_table("views.parquet").rename_columns(["user_id", "video_id", "seen_at", "long_view"])
    watched = np.where(views["long_view"].to_numpy() == 1, 9_000, 1_000)
    views = views.append_column("watch_ms", pa.array(watched))
    pq.write_table(views.append_column("duration_ms", pa.array(np.full(len(views), 10_000))), "views.parquet")
    small = {"train": ["optim.epochs=1", "model.dim=8", "progress=false"], "evaluate": ["draws=20", "examples=1"]}
    found = commands(block)
    assert [words[0] for words in found] == ["prepare", "train", "evaluate", "publish", "recommend"]
    for words in found:
        assert main([*words, *small.get(words[0], [])]) == 0
    assert (tmp_path / "runs/mine/report/report.html").stat().st_size > 1000
    assert len(block.strip().splitlines()) <= 10


@pytest.mark.parametrize("example", [example for verb in VERBS.values() for example in verb.examples])
def test_every_example_of_the_help_is_a_command(example: str) -> None:
    program, verb, *options = shlex.split(example)
    assert program == "towers"
    if "-m" not in options:
        assert type(composed(VERBS[verb], options)).__name__ == VERBS[verb].config.partition(":")[2]


@pytest.mark.parametrize("script", sorted(set(re.findall(r"bash (scripts/\w+\.sh)", README.read_text()))))
def test_the_scripts_exist_and_can_be_run(script: str) -> None:
    assert (CHECKOUT / script).stat().st_mode & 0o111


def test_the_rooms_of_the_readme_are_the_rooms() -> None:
    table = README.read_text().partition("## The rooms")[2].partition("##")[0]
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if line[:1] == "|")))
    there = {p.stem for p in (CHECKOUT / "towers").iterdir() if p.is_dir() or p.stem == "types"} - {"__pycache__"}
    assert named == there


def added_loss() -> Loss:
    namespace: dict[str, object] = {"__name__": "margin"}
    exec(compile(next(block for block in blocks("python") if "class Margin" in block), "README.md", "exec"), namespace)  # noqa: S102
    made = namespace["Margin"]
    assert isinstance(made, type)
    loss = made()
    assert isinstance(loss, Loss)
    return loss


def promises(module: ModuleType) -> list[str]:
    return [
        name
        for name, test in vars(module).items()
        if hasattr(test, "hypothesis")
        and set(inspect.signature(test.hypothesis.inner_test).parameters) == {"loss", "seed"}
    ]


def test_losses_promise_something() -> None:
    assert len(promises(contract)) >= 4  # none found would be none asked of the README's loss


@pytest.mark.parametrize("name", promises(contract))
def test_the_loss_of_the_readme_keeps_what_every_loss_promises(name: str) -> None:
    for seed in range(5):
        loss = added_loss()
        with mock.patch.object(type(loss), "__call__", autospec=True, side_effect=type(loss).__call__) as asked:
            getattr(contract, name).hypothesis.inner_test(loss=loss, seed=seed)
        assert asked.called  # the promise's own assertions were about this loss


def test_every_link_leads_somewhere() -> None:
    for page in (README, CHECKOUT / "benchmarks" / "README.md"):
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"
