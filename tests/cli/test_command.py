import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from towers import __version__
from towers.cli import main
from towers.cli.errors import explain
from towers.cli.sweep import Job, compare
from towers.cli.verbs import VERBS

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_without_a_verb_all_verbs_are_listed_with_an_example(words: list[str], capsys: Captured) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    for verb in VERBS.values():
        place = next(i for i, line in enumerate(lines) if line.split()[:1] == [verb.name])
        assert verb.summary in lines[place]
        assert lines[place + 1].strip() == verb.examples[0]


def test_what_is_not_installed_is_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "towers.serving.http.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", "bundle=nowhere"]) == 2
    assert (
        capsys.readouterr().err
        == "error: towers serve needs uvicorn; pip install -c requirements.lock -e '.[serve]' in the checkout\n"
    )


def test_what_trains_and_is_not_installed_is_named(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delitem(sys.modules, "towers.data.engine", raising=False)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert main(["prepare", "data=kuairand", f"dataset={tmp_path / 'dataset'}"]) == 2
    told = "error: towers prepare needs duckdb; pip install -c requirements.lock -e '.[train]' in the checkout\n"
    assert capsys.readouterr().err == told
    later = explain(ModuleNotFoundError("there is none", name="matplotlib"), VERBS["evaluate"], None, [])
    assert later == "towers evaluate needs matplotlib; pip install -c requirements.lock -e '.[train]' in the checkout"
    for name in ("towers.nothing", "numpy._core", "somebody.else"):
        assert explain(ModuleNotFoundError("a defect", name=name), VERBS["evaluate"], None, []) is None


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"towers {__version__}\n"


SPINNING = """
import os, sys
from towers.cli import main
print("torch" in sys.modules)
main(["--version"])
print(os.environ["GOMP_SPINCOUNT"])
"""


@pytest.mark.parametrize(("own", "used"), [(None, "20000"), ("7", "7")])
def test_threads_wait_without_spinning_long_unless_the_user_says_so(own: str | None, used: str) -> None:
    others = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    environment = others if own is None else others | {"GOMP_SPINCOUNT": own}
    told = subprocess.run([sys.executable, "-c", SPINNING], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["False", f"towers {__version__}", used]


HELPFUL = """
import sys
from towers.cli import main
main(["train", "--help"])
print([name for name in ("pytorch_lightning", "torchmetrics") if name in sys.modules])
"""


def test_help_for_training_loads_nothing_that_trains() -> None:
    told = subprocess.run([sys.executable, "-c", HELPFUL], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "[]"


def test_options_arrive_typed_and_nothing_is_written(baked: list[Any], elsewhere: Path) -> None:
    words = ["pie=here", "filling=plum", "filling.stones=true", "oven.degrees=200", "crust=thick", "guests=[ann,7]"]
    assert main(["bake", *words]) == 0
    (config,) = baked
    assert (config.pie, config.filling.stones, config.oven.degrees) == ("here", True, 200.0)
    assert (config.crust.name, config.guests, config.slices) == ("thick", ["ann", "7"], [4, 8])
    assert files(elsewhere) == []


@pytest.mark.parametrize(
    "text",
    ["least(a, 1) = 'x' or b >= \"y\"", "007", "1e3", "a,b", "C:(d) {e} [f", "it's \\", "", "~x", "true", "a\\'b"],
)
def test_texts_arrive_as_they_were_typed(text: str, baked: list[Any], capsys: Captured) -> None:
    assert main(["bake", f"pie={text}"]) == 0, capsys.readouterr().err
    assert baked[0].pie == text


def test_null_and_quotes_keep_their_meaning(baked: list[Any]) -> None:
    assert main(["bake", "pie='a b'", "label=null"]) == 0
    assert (baked[0].pie, baked[0].label) == ("a b", None)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "towers bake needs pie=…; for example `towers bake pie=table`"),
        (["pie=a", "ovn.degrees=3"], "towers bake has no option 'ovn.degrees'; did you mean 'oven.degrees'? {help}"),
        (["pie=a", "filing=plum"], "towers bake has no option 'filing'; did you mean 'filling'? {help}"),
        (["pie=a", "+xyz=1"], "towers bake has no option 'xyz' {help}"),
        (["pie=a", "filling=plumb"], "filling=plumb: expected apple or plum; did you mean 'plum'?"),
        (["pie=a", "filling=7"], "filling=7: expected apple or plum"),
        (["pie=a", "oven.degrees=hot"], "oven.degrees=hot: expected a number"),
        (["pie=a", "filling.count=1.5"], "filling.count=1.5: expected a whole number"),
        (["pie=a", "filling.count=null"], "filling.count=null: expected a whole number"),
        (["pie=a", "filling=plum", "filling.stones=3.5"], "filling.stones=3.5: expected true or false"),
        (["pie=a", "filling=plum", "filling.count=3"], "filling.count=3: only filling=apple has this option"),
        (["pie=a", "crust=thik"], "crust=thik: expected thin or thick; did you mean 'thick'?"),
        (["pie=a", "filling.count=[1,2]"], "filling.count=[1,2]: expected a whole number; to try each, "
         "filling.count=1,2 and -m"),
        (["pie=a", "filling.count=choice(1,2)"], "filling.count=choice(1,2) has several values, one for each run; "
         "add -m, or give it one"),
        (["pie=a", "hydra.sweeper.n_trials=9"], "hydra.sweeper.n_trials=9 is of a sweep, and this is one run; add -m, "
         "or leave it out"),
        (["pie=a", "hydra/sweeper=optuna"], "hydra/sweeper=optuna is of a sweep, and this is one run; add -m, or leave "
         "it out"),
        (["pie=a", "slices=3"], "slices=3: expected whole numbers in brackets, as in [1,2]"),
        (["pie=a", "slices=[a]"], "slices=[a]: expected whole numbers in brackets, as in [1,2]"),
        (["pie=a", "filling.count=1,2"], "filling.count=1,2 has several values; with -m each is run by itself"),
        (["pie=a", "slices=1,2"], "slices=1,2 has several values: slices=[1,2] is a list, and with -m each is run by "
         "itself"),
        (["pie=a", "filling.count=-1"], "filling.count is -1; expected at least 0"),
        (["pie=a", "slices=[1"], "cannot read the option 'slices=[1': quote its value, as in 'slices=\"[1\"'"),
        (["pie=a", "hello"], "'hello' is no option; write option=value {help}"),
        (["pie=a", "=2"], "'=2' is no option; write option=value {help}"),
        (["pie=a", "--multrun"], "there is no flag --multrun; did you mean '--multirun'? (options are written "
         "option=value, `towers bake --help` lists them)"),
        (["pie=a", "label=full disk"], "a: No space left on device"),
    ],
)  # fmt: skip
def test_what_the_user_can_mend_is_told_in_one_line(
    words: list[str], message: str, baked: list[Any], capsys: Captured, elsewhere: Path
) -> None:
    assert main(["bake", *words]) == 2
    assert len(baked) == (1 if "label=full disk" in words else 0)
    told = capsys.readouterr()
    assert told.err == f"error: {message.format(help='(`towers bake --help` lists them)')}\n"
    assert told.out == ""
    assert files(elsewhere) == []


def test_an_unknown_verb_is_told_the_nearest(capsys: Captured) -> None:
    assert main(["evalute"]) == 2
    assert capsys.readouterr().err == (
        "error: towers has no verb 'evalute'; did you mean 'evaluate'?; it has "
        "prepare, train, evaluate, publish, recommend, serve, key, demo\n"
    )


@pytest.mark.usefixtures("baked")
def test_debug_shows_where_an_error_comes_from(capsys: Captured) -> None:
    assert main(["bake", "pie=a", "filling.count=-1", "--debug"]) == 2
    told = capsys.readouterr().err
    assert "Traceback (most recent call last)" in told
    assert told.endswith("error: filling.count is -1; expected at least 0\n")


@pytest.mark.usefixtures("baked")
def test_a_defect_shows_its_traceback_and_is_called_one(capsys: Captured) -> None:
    assert main(["bake", "pie=a", "label=defect"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last)")
    assert told.endswith(
        "error: RuntimeError: the oven is on fire\nThis is a defect of towers; please report it as printed.\n"
    )


@pytest.mark.usefixtures("baked")
def test_ctrl_c_is_quiet(capsys: Captured) -> None:
    assert main(["bake", "pie=a", "label=interrupt"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["train", "demo", "evaluate"])
def test_ctrl_c_says_what_goes_on(name: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("towers.cli.command._run", interrupt)
    assert main([name]) == 130
    told = "" if name == "evaluate" else "stopped; the same command goes on after the last whole epoch\n"
    assert capsys.readouterr() == ("", told)


def test_a_sweep_runs_every_combination_each_in_its_own_folder(
    baked: list[Any], capsys: Captured, elsewhere: Path
) -> None:
    assert main(["bake", "pie=pies", "filling.count=1,2", "-m", "oven.degrees=180,200"]) == 0
    assert [(c.pie, c.filling.count, c.oven.degrees) for c in baked] == [
        ("pies/0", 1, 180.0),
        ("pies/1", 1, 200.0),
        ("pies/2", 2, 180.0),
        ("pies/3", 2, 200.0),
    ]
    assert "job 0 (filling.count=1,oven.degrees=180,pie=pies)\n" in capsys.readouterr().err
    assert files(elsewhere) == []


@pytest.mark.usefixtures("baked")
def test_a_sweep_into_a_folder_that_is_no_sweeps_is_refused(capsys: Captured, elsewhere: Path) -> None:
    (elsewhere / "my pies").mkdir()
    (elsewhere / "my pies" / "config.json").write_text("{}")
    assert main(["bake", "pie='my pies'", "filling.count=1,2", "-m"]) == 2
    assert capsys.readouterr().err == (
        "error: my pies holds config.json and is no sweep, whose jobs lie in pie=FOLDER/0, FOLDER/1 and so on; "
        "choose another pie=FOLDER\n"
    )
    assert files(elsewhere) == ["my pies", "my pies/config.json"]


def test_a_sweep_goes_into_the_folder_of_an_earlier_one(baked: list[Any], elsewhere: Path) -> None:
    (elsewhere / "pies" / "0").mkdir(parents=True)
    for name in ("multirun.yaml", "sweep.csv", "sweep.journal.lock"):
        (elsewhere / "pies" / name).touch()
    assert main(["bake", "pie=pies", "filling.count=1,2", "-m"]) == 0
    assert [config.pie for config in baked] == ["pies/0", "pies/1"]


def test_a_sweep_over_the_folder_itself_takes_the_names_given(baked: list[Any], elsewhere: Path) -> None:
    assert main(["bake", "pie=one,two", "-m"]) == 0
    assert [config.pie for config in baked] == ["one", "two"]
    assert files(elsewhere) == []


def test_a_sweep_goes_on_after_a_job_that_failed_and_says_which(baked: list[Any], capsys: Captured) -> None:
    assert main(["bake", "pie=pies", "filling.count=-1,2", "-m"]) == 2
    assert [config.filling.count for config in baked] == [2]
    told = capsys.readouterr().err
    assert told.endswith("error: job 0 (filling.count=-1,pie=pies): filling.count is -1; expected at least 0\n")
    assert "Error executing job" not in told


@pytest.fixture
def judged(baked: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    verb = replace(VERBS["bake"], figures="tests.cli.conftest:figures_of_pie")
    monkeypatch.setitem(VERBS, "bake", verb)
    return baked


@pytest.mark.usefixtures("judged")
def test_a_sweep_ends_with_its_jobs_side_by_side(capsys: Captured, elsewhere: Path) -> None:
    assert main(["bake", "pie='my pies'", "filling.count=2,-1,4", "oven.degrees=200", "-m"]) == 2
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        [],
        ["job", "count", "weight", "guests"],
        ["─" * 29],
        ["2", "4", "0.8000", "0"],
        ["0", "2", "0.4000", "0"],
        ["1", "-1", "failed"],
        ["sweep:", "my", "pies/sweep.csv"],
    ]
    rows = (elsewhere / "my pies" / "sweep.csv").read_text().splitlines()
    assert rows == ["job,filling.count,weight,guests", "0,2,0.4,0", "1,-1,,", "2,4,0.8,0"]


@pytest.mark.usefixtures("judged")
def test_a_table_of_other_options_is_not_written_over(capsys: Captured, elsewhere: Path) -> None:
    assert main(["bake", "pie=pies", "filling.count=2,4", "-m"]) == 0
    before = (elsewhere / "pies" / "sweep.csv").read_text()
    assert main(["bake", "pie=pies", "filling.count=-1,2", "-m"]) == 2
    assert (elsewhere / "pies" / "sweep.csv").read_text() == before
    assert "pies/sweep.csv stays as it was: job 0, which failed now, had ended well\n" in capsys.readouterr().out
    assert main(["bake", "pie=pies", "filling.count=3,4", "-m"]) == 0
    assert (elsewhere / "pies" / "sweep.csv").read_text() != before


def test_a_sweeps_table_is_brief_and_its_file_is_not(capsys: Captured, elsewhere: Path) -> None:
    told = {"model.dim": "8", "optim.rate": "0.00677457", "seed": "1"}
    jobs = [Job(number=0, told=told, figures={"recall": 0.5}, within=elsewhere)]
    jobs.append(
        Job(
            number=1, told=told | {"model.dim": "16", "optim.rate": "0.0123"}, figures={"recall": 0.4}, within=elsewhere
        )
    )
    compare(jobs)
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:5:3]] == [
        ["job", "dim", "rate", "recall"],
        ["1", "16", "0.0123", "0.4000"],
    ]
    assert (elsewhere / "sweep.csv").read_text().splitlines()[:2] == [
        "job,model.dim,optim.rate,recall",
        "0,8,0.00677457,0.5",
    ]


@pytest.mark.usefixtures("judged")
def test_a_sweep_over_the_folder_itself_is_compared_but_leaves_no_file(capsys: Captured, elsewhere: Path) -> None:
    assert main(["bake", "pie=one,two", "-m"]) == 0
    assert "job   pie   weight   guests" in capsys.readouterr().out
    assert files(elsewhere) == []


@pytest.mark.parametrize("words", [["pie=one"], ["pie=one", "filling.count=-1,-2", "-m"]])
@pytest.mark.usefixtures("judged")
def test_nothing_is_compared_without_a_sweep_or_a_result(words: list[str], capsys: Captured, elsewhere: Path) -> None:
    main(["bake", *words])
    assert capsys.readouterr().out == ""
    assert not list(elsewhere.rglob("sweep.csv"))


@pytest.mark.usefixtures("judged")
def test_an_interrupted_sweep_still_shows_what_it_has(capsys: Captured) -> None:
    assert main(["bake", "pie=pies", "label=fine,interrupt,late", "-m"]) == 130
    assert "weight" in capsys.readouterr().out


def test_help_explains_every_option_and_choice(
    baked: list[Any], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towers.cli.overview.default_choices", lambda *_: {"filling": "apple"})
    assert main(["bake", "--help"]) == 0
    assert capsys.readouterr().out.partition("\n-m runs")[0] == HELP
    assert baked == []


HELP = """\
towers bake: bake a pie

It takes an hour.

Examples:
  towers bake pie=table

Must be given:
  pie=<text>
      Where it goes.

Options:
  oven.degrees=<number>
      Heat. Default 180.
  crust=<thin|thick>
      Outside. Default thin.
  guests=<list of text>
      Who comes. Default [].
  slices=<list of whole number>
      How it is cut. Default [4,8].
  label=<text>
      What it says.

Choice filling=… (default apple): What is inside.
  filling=apple: Apples, cut.
      filling.count=<whole number>
          How many. Default 3.
  filling=plum: Plums.
      filling.stones=<true|false>
          Whether they are left in. Default false.
"""
