"""Every YAML composes to the dataclass it stands for, and every option that can be set is looked at somewhere."""

import ast
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from omegaconf import OmegaConf

from benchmarks.quality import TABLES
from towers import Files, KuaiRand, PrepareConfig, PublishConfig, TrainConfig
from towers.cli import main
from towers.cli.compose import composed
from towers.cli.schema import schema_of
from towers.cli.verbs import VERBS, Verb
from towers.data import Kind

CHECKOUT = Path(__file__).parent.parent.parent
CONF = CHECKOUT / "conf"
NEEDED = {
    "prepare": ["dataset=d"],
    "train": ["dataset=d", "run=r"],
    "evaluate": ["run=r"],
    "publish": ["run=r", "bundle=b"],
    "recommend": ["bundle=b", "user=7"],
    "serve": ["bundle=b"],
    "key": ["file=f", "name=n"],
    "demo": [],
}
verbs = pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))


def test_every_yaml_is_a_verb_an_experiment_or_a_space_to_search() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == set(VERBS)
    assert {path.parent.name for path in CONF.rglob("*.yaml")} == {"conf", "experiment", "sweep"}


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_a_yaml_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 15


@verbs
def test_the_defaults_compose(verb: Verb) -> None:
    assert isinstance(composed(verb, NEEDED[verb.name]), schema_of(verb).node)


@pytest.mark.parametrize(
    ("verb", "config"),
    [
        ("prepare", lambda: PrepareConfig(data=KuaiRand(), dataset="d")),
        ("train", lambda: TrainConfig(dataset="d", run="r")),
        ("publish", lambda: PublishConfig(run="r", bundle="b")),
    ],
)
def test_python_has_the_defaults_of_the_command_line(verb: str, config: Callable[[], object]) -> None:
    told = {"prepare": ["dataset=d"], "train": ["dataset=d", "run=r"], "publish": ["run=r", "bundle=b"]}
    assert composed(VERBS[verb], told[verb]) == config()


@verbs
def test_every_variant_composes(verb: Verb) -> None:
    for choice in schema_of(verb).choices:
        for variant in choice.variants:
            required = [f"{option.path}=x" for option in variant.options if option.default is None]
            config: object = composed(verb, [*NEEDED[verb.name], f"{choice.group}={variant.name}", *required])
            for part in choice.group.split("/"):
                config = getattr(config, part)
            assert isinstance(config, variant.node)


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_composes_and_says_how_it_was_measured(name: str) -> None:
    assert composed(VERBS["train"], [*NEEDED["train"], f"experiment={name}"])
    words = (CONF / "experiment" / f"{name}.yaml").read_text()
    command = re.search(
        r"^# Measured by: python -m benchmarks\.quality (\S+)(?: --recipe (\S+))?$", words, re.MULTILINE
    )
    assert command
    assert command[1] in TABLES
    assert (command[2] or TABLES[command[1]].recipe) == name


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "sweep").glob("*.yaml")))
def test_every_space_is_of_options_that_exist_with_values_they_can_have(name: str) -> None:
    assert composed(VERBS["train"], [*NEEDED["train"], f"sweep={name}"])
    space = OmegaConf.load(CONF / "sweep" / f"{name}.yaml").hydra.sweeper.params
    for option, values in space.items():
        ends = [value.strip() for value in re.search(r"\(([^()]*)\)", values)[1].split(",")]  # type: ignore[index]
        for end in ends:
            assert composed(VERBS["train"], [*NEEDED["train"], f"{option}={end}"])


@verbs
def test_every_option_and_choice_is_explained(verb: Verb) -> None:
    schema = schema_of(verb)
    unexplained = [item.path for item in schema.every_option() if not item.text]
    unexplained += [item.group for item in schema.choices if not item.text]
    assert unexplained == []
    assert [item.path for item in schema.every_option() if ":`" in item.text] == []  # markup is for pages of code


def nodes(verb: Verb) -> set[type]:
    """All dataclasses that hold options of a verb."""
    schema = schema_of(verb)
    found: set[type] = set()
    waiting = [schema.node, *(variant.node for choice in schema.choices for variant in choice.variants)]
    while waiting:
        node = waiting.pop()
        found.add(node)
        hints = [hint for hint in get_type_hints(node).values() if isinstance(hint, type)]
        waiting += [hint for hint in hints if is_dataclass(hint) and hint not in found]
    return found


def attributes_read() -> set[str]:
    """Names read anywhere in the package, as attributes or by name; `__post_init__` only checks, so it is left out."""
    read: set[str] = set()
    for path in (CHECKOUT / "towers").rglob("*.py"):
        tree = ast.parse(path.read_text())
        checks = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == "__post_init__"]
        only_checked = {id(inner) for check in checks for inner in ast.walk(check)}
        for node in ast.walk(tree):
            if id(node) in only_checked:
                continue
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                read.add(node.attr)
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                read.add(node.value)
    return read


READ = attributes_read()


@verbs
def test_no_option_is_dead(verb: Verb) -> None:
    assert [f"{node.__name__}.{f.name}" for node in nodes(verb) for f in fields(node) if f.name not in READ] == []


def test_the_check_for_dead_options_sees_one() -> None:
    assert "id_dropout" in READ
    assert "max_grad_norm" not in READ


@pytest.mark.parametrize("option", ["data.user_features.tag=multi", "data.user_features={tag: multi}"])
def test_features_are_not_named_in_vain(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "data=kuairand", "dataset=d", option]) == 2
    told = "error: data.user_features: the chosen data has no such option; `towers prepare --help` says which has\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize("way", ["data.video_features.tag=multi", "data.video_features={tag: multi}"])
def test_a_feature_may_be_named_that_no_schema_knows(way: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data=files", "data.events=views.csv", "dataset=d"]
    config = composed(VERBS["prepare"], [*words, way])
    assert isinstance(config, PrepareConfig)
    assert isinstance(config.data, Files)
    assert config.data.video_features == {"tag": Kind.multi}
    assert main(["prepare", *words, "data.video_features.tag=mutli"]) == 2
    assert capsys.readouterr().err == (
        "error: data.video_features.tag=mutli: expected categorical, multi, numeric or vector; did you mean 'multi'?\n"
    )
    assert main(["prepare", *words, "data.video_features={tag:mutli}"]) == 2
    assert capsys.readouterr().err == (
        "error: data.video_features={tag:mutli}: expected categorical, multi, numeric or vector; "
        "did you mean 'multi'?\n"
    )
    assert main(["prepare", *words, "data.time_unit=s", "data.time_unit=sec"]) == 2
    assert capsys.readouterr().err.startswith("error: data.time_unit=sec: expected ms, s or us")
    assert main(["prepare", *words, "data.events=[a.csv,b.csv]"]) == 2
    assert capsys.readouterr().err.endswith(
        "expected text; several files are a folder, or a pattern in quotes, as in 'data.events=part-*.csv'\n"
    )
