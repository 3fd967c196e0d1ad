import csv
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.tiny import write_dataset
from towers.cli import main
from towers.cli.verbs import VERBS

Captured = pytest.CaptureFixture[str]
SPACE = [
    "filling.count=range(1,9)",
    "oven.degrees=tag(log,interval(100.5,300))",
    "crust=choice(thin,thick)",
    "slices=[1],[2,3]",
]
TRIALS = 5


@pytest.fixture
def search(baked: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """Search for a good pie in a folder of its own; returns the exit status."""
    verb = replace(VERBS["bake"], figures=f"{__name__}:figures_of_pie")
    monkeypatch.setitem(VERBS, "bake", verb)
    monkeypatch.chdir(tmp_path)

    def run(*words: str, space: list[str] = SPACE, trials: int = TRIALS) -> int:
        baked.clear()
        return main(["bake", "-m", "hydra/sweeper=optuna", f"hydra.sweeper.n_trials={trials}", *space, *words])

    return run


def figures_of_pie(pie: Any) -> dict[str, float]:  # noqa: ANN401 - tests/cli/conftest.py has its type
    return {"weight": pie.filling.weigh(), "seconds": float(pie.oven.degrees)}


def table(folder: str) -> list[dict[str, str]]:
    with Path(folder, "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


pytest.importorskip("optuna")


def test_every_trial_is_of_the_space_in_a_folder_of_its_own_and_compared(
    search: Callable[..., int], baked: list[Any], capsys: Captured
) -> None:
    assert search("pie=pies", "label=fine") == 0
    assert [pie.pie for pie in baked] == [f"pies/{number}" for number in range(TRIALS)]
    assert all(pie.filling.count in range(1, 9) and 100.5 <= pie.oven.degrees <= 300 for pie in baked)
    assert all(pie.slices in ([1], [2, 3]) and pie.label == "fine" for pie in baked)
    assert len({pie.oven.degrees for pie in baked}) == TRIALS
    assert [float(row["weight"]) for row in table("pies")] == pytest.approx([pie.filling.weigh() for pie in baked])
    assert "* no other job is both better and quicker (weight against seconds)" in capsys.readouterr().out
    assert Path("pies/sweep.png").stat().st_size > 1000


def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    search: Callable[..., int], baked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search("pie=whole") == 0
    whole = table("whole")
    plain, served = figures_of_pie, list[object]()

    def stop(pie: Any) -> dict[str, float]:  # noqa: ANN401
        served.append(pie)
        if len(served) == 3:
            raise KeyboardInterrupt
        return plain(pie)

    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "figures_of_pie", stop)
        assert search("pie=stopped") == 130
    assert len(baked) == 3
    assert search("pie=stopped") == 0
    assert table("stopped") == whole
    assert search("pie=stopped", trials=TRIALS + 1) == 0
    assert table("stopped")[:TRIALS] == whole


def test_a_trial_that_failed_is_told_once_and_not_tried_again(
    search: Callable[..., int], baked: list[Any], capsys: Captured
) -> None:
    space = ["filling.count=range(-4,5)", "oven.degrees=interval(1.5,2.5)"]
    assert search("pie=pies", space=space) == 2
    tried = len(baked)
    assert 0 < tried < TRIALS
    assert "expected at least 0" in capsys.readouterr().err
    assert search("pie=pies", space=space) == 0
    assert len(baked) == tried


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["filling.count=range(1,4)"],
            "pies holds a search of another space: filling.count was IntDistribution(high=8, log=False, low=1, "
            "step=1) and is now IntDistribution(high=3, log=False, low=1, step=1); choose another run=FOLDER, or "
            "delete that one",
        ),
        (
            ["filling.count=3"],
            "there is nothing to search; name a space, as in sweep=recipe or model.dim=choice(32,64)",
        ),
    ],
)
def test_what_cannot_be_searched_is_said(
    words: list[str], message: str, search: Callable[..., int], capsys: Captured
) -> None:
    assert search("pie=pies", space=["filling.count=range(1,9)"], trials=1) == 0
    assert search("pie=pies", space=words) == 2
    assert message in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(
    search: Callable[..., int], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search("pie=pies") == 2
    assert "needs optuna; pip install -c requirements.lock -e '.[sweep]' in the checkout" in capsys.readouterr().err


def test_towers_are_searched_for_and_finished_trials_are_not_trained_again(tmp_path: Path) -> None:
    write_dataset(tmp_path / "dataset")
    words = [f"dataset={tmp_path / 'dataset'}", f"run={tmp_path / 'sweep'}", "progress=false", "accelerator=cpu"]
    small = ["optim.epochs=1", "optim.positions=64", "model.dim=choice(4,8)", "model/history=choice(mean,recency)"]

    def search(trials: int) -> list[dict[str, str]]:
        assert main(["train", "-m", "sweep=recipe", f"hydra.sweeper.n_trials={trials}", *words, *small]) == 0
        return table(str(tmp_path / "sweep"))

    (first,) = search(1)
    weights = tmp_path / "sweep" / "0" / "towers" / "weights.safetensors"
    written = weights.stat().st_mtime_ns
    rows = search(2)
    assert rows[0].items() >= first.items()
    assert weights.stat().st_mtime_ns == written
    assert [row["job"] for row in rows] == ["0", "1"]
    assert {float(row["valid recall@100"]) > 0 for row in rows} == {True}
    assert (tmp_path / "sweep" / "1" / "run.json").is_file()


def test_a_space_to_search_wants_a_sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["train", "dataset=there", f"run={tmp_path / 'run'}", "sweep=recipe"]) == 2
    expected = "error: sweep=recipe names a space to search, and this is one run; add -m, or leave it out\n"
    assert capsys.readouterr().err == expected
    for words, refused in (
        (["sweep=null"], False),
        (["sweep=recipe", "--cfg", "job"], False),
        (["sweep=recipe", "--cfg=job"], False),
        (["sweep=recipe", "-cd", str(tmp_path)], True),
    ):
        main(["train", f"dataset={tmp_path}", f"run={tmp_path / 'run'}", *words])
        assert ("names a space to search" in capsys.readouterr().err) is refused, words
