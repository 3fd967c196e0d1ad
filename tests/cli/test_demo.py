import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import ids_of, write_dataset
from towers.cli import demo, main
from towers.cli.compose import composed
from towers.cli.verbs import VERBS
from towers.types import RunError, peak_mb


def test_the_demo_goes_the_whole_way_with_commands_that_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "demo"
    write_dataset(folder / "dataset")
    configs: list[tuple[str, object]] = []
    for verb in list(VERBS.values())[:5]:
        monkeypatch.setattr(type(verb), "run", lambda self, config: configs.append((self.name, config)))
    monkeypatch.setattr(demo, "apart", lambda verb, words: configs.append((verb, composed(VERBS[verb], words))))
    with caplog.at_level("INFO", logger="towers"):
        made = demo.demo(demo.DemoConfig(folder=str(folder), epochs=2))
    assert [name for name, _ in configs] == ["prepare", "train", "evaluate", "publish", "recommend"]
    typed = [line.split("towers ")[1].split() for line in caplog.messages if "towers " in line]
    assert [(words[0], composed(VERBS[words[0]], words[1:])) for words in typed] == configs
    assert (made.folder, made.peak_mb > 0) == (folder, True)


def test_the_one_whose_candidates_are_shown_has_something_to_find(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset")
    assert demo.someone(tmp_path / "dataset") == str(ids_of(24, string=False)[0])


def test_training_is_a_process_of_its_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    demo.apart("train", ["--help"])
    assert "towers train" in capfd.readouterr().out
    with pytest.raises(RunError, match="towers train ended with status 2; what it said stands above"):
        demo.apart("train", [f"dataset={tmp_path}", f"run={tmp_path / 'run'}"])
    assert capfd.readouterr().err.startswith(f"error: {tmp_path}")
    assert peak_mb(resource.RUSAGE_CHILDREN) > 50


def test_no_epochs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "epochs=0"]) == 2
    assert capsys.readouterr().err == "error: epochs is 0; expected at least 1\n"


WAITING = """
import subprocess, sys
from towers.cli import demo
run = subprocess.run
words = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); os.read(0, 1)"]
subprocess.run = lambda _command, **options: run(words, **options)
demo.apart("train", [])
"""


def test_who_is_told_to_end_leaves_nobody_at_work() -> None:
    waiting = subprocess.Popen([sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert waiting.stdin is not None
    assert waiting.stdout is not None
    assert int(waiting.stdout.readline()) != waiting.pid
    waiting.terminate()
    assert waiting.wait() == 128 + signal.SIGTERM
    # Nothing more comes once nobody holds the other end, and the one within would wait for ever.
    assert waiting.stdout.read() == b""
    waiting.stdin.close()
    waiting.stdout.close()
