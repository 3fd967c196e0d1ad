import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from towers.data import atomic_folder, write_json
from towers.types import DataError

KILLED_ASIDE = """
import os, signal, sys
from pathlib import Path
from towers.data import atomic_folder
rename = Path.rename
def once(path, new):
    rename(path, new)
    os.kill(os.getpid(), signal.SIGKILL)
Path.rename = once
with atomic_folder(Path(sys.argv[1])) as partial:
    (partial / "new").write_text("new")
"""


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "dataset"
    for number in (1, 2):
        with atomic_folder(target) as partial:
            (partial / f"file{number}").write_text("x")
            assert partial.parent == target.parent
            assert target.exists() == (number == 2)
    assert [path.name for path in target.iterdir()] == ["file2"]
    assert [path.name for path in target.parent.iterdir()] == ["dataset"]


def fill_half(target: Path) -> None:
    with atomic_folder(target) as partial:
        (partial / "new").write_text("new")
        raise OSError("half way")


def test_an_error_leaves_the_old_folder_and_no_partial_one(tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(OSError, match="half way"):
        fill_half(target)
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]
    assert (target / "old").read_text() == "old"


def test_what_nobody_holds_is_cleaned_and_what_living_ones_do_is_not(tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    stale, other = tmp_path / "dataset.partial-00ff", tmp_path / "other.partial-00ff"
    for folder in (stale, other):
        folder.mkdir()
    with atomic_folder(target) as living:
        with atomic_folder(target):
            assert not stale.exists()
        assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dataset", "other.partial-00ff"]


def test_a_lock_ends_with_its_process_whoever_has_its_number_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dataset"
    target.mkdir()
    (target / "old").write_text("old")
    process = subprocess.Popen([sys.executable, "-c", KILLED_ASIDE, str(target)])
    assert process.wait() == -signal.SIGKILL
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["dataset.partial", "dataset.replaced"]
    monkeypatch.setattr(os, "kill", lambda *_: None)  # as if the number belonged to a living process
    monkeypatch.setattr(os, "getpid", lambda: process.pid)
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert (target / "old").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_target_that_a_killed_process_had_moved_aside_comes_back(tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    aside = tmp_path / "dataset.replaced-00ff"
    aside.mkdir()
    (aside / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(target):
        raise RuntimeError
    assert (target / "old").read_text() == "old"
    assert not aside.exists()


def test_a_folder_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with (
        pytest.raises(DataError, match=r"holds files but no manifest\.json.*choose another folder"),
        atomic_folder(tmp_path, own=("manifest.json",)),
    ):
        pytest.fail("entered")
    assert (tmp_path / "thesis.tex").exists()


def test_what_came_while_we_worked_is_not_lost(tmp_path: Path) -> None:
    target = tmp_path / "dataset"
    target.mkdir()
    (target / "manifest.json").touch()
    with (
        pytest.raises(DataError, match="also holds run, which prepare did not write"),
        atomic_folder(target, own=("manifest.json",)),
    ):
        (target / "run").mkdir()
    assert sorted(path.name for path in target.iterdir()) == ["manifest.json", "run"]
    assert [path.name for path in tmp_path.iterdir()] == ["dataset"]


def test_a_file_is_not_replaced_by_a_folder(tmp_path: Path) -> None:
    (tmp_path / "dataset").write_text("a file")
    with (
        pytest.raises(DataError, match="is a file; expected a folder or nothing there"),
        atomic_folder(tmp_path / "dataset"),
    ):
        pytest.fail("entered")


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": ["é", None]})
    write_json(tmp_path / "b.json", {"a": ["é", None], "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"a": ["é", None], "b": 1}


def test_what_json_cannot_say_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text() == "1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
