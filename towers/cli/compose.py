"""The one place that talks to Hydra: stores the schemas, composes the options, sweeps."""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import deepcopy
from dataclasses import fields, is_dataclass
from pathlib import Path
from unittest import mock

import hydra
from hydra import compose, initialize_config_module
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from towers.cli.options import SHOWS, SWEEPS, prepared
from towers.cli.schema import Schema, schema_of
from towers.cli.search import register
from towers.cli.verbs import Verb
from towers.types import ConfigError

NOTES = "multirun.yaml"
"""What Hydra writes into a sweep's folder before the first job."""


@contextmanager
def stored(verb: Verb, schema: Schema) -> Iterator[None]:
    """Tell Hydra the types, defaults and choices of a verb, for as long as they are needed.

    Nodes that outlive this would keep DuckDB alive past the interpreter's end, about which it complains.

    Raises:
        TypeError: A dataclass has a field of a type that OmegaConf cannot hold.
    """
    Plugins.instance()  # which keep nodes of their own there once they are loaded
    known = ConfigStore.instance()
    before = deepcopy(known.repo)
    register()
    try:
        known.store(name=f"{verb.name}_schema", node=_without_choices(schema))
        for choice in schema.choices:
            for variant in choice.variants:
                known.store(group=choice.group, name=variant.name, node=variant.node)
    except OmegaConfBaseException as error:
        raise TypeError(f"the configuration of towers {verb.name} is none for OmegaConf: {error}") from error
    try:
        yield
    finally:
        known.repo = before


def _without_choices(schema: Schema) -> DictConfig:
    """Return what a verb can be told, nothing chosen: Hydra would merge a choice into what Python takes without one."""
    node = OmegaConf.structured(schema.node)
    for choice in schema.choices:
        OmegaConf.update(node, choice.group.replace("/", "."), "???")
    return node


def run_hydra(verb: Verb, schema: Schema, words: list[str], job: Callable[[DictConfig], object]) -> None:
    """Compose the options and call job with them, once or for every combination of a sweep.

    Hydra's own errors arrive as they are: with HYDRA_FULL_ERROR it neither prints nor exits.

    Args:
        verb: The verb, whose name is also the name of its YAML file.
        schema: What it can be told.
        words: What the user typed after it.
        job: Called with the composed configuration.

    Raises:
        ConfigError: A space to search is named where one run is asked for.
    """
    options = prepared(verb, schema, words)
    flags = {option.partition("=")[0] for option in options}
    if flags.isdisjoint((*SWEEPS, *SHOWS)):
        _refuse_search(verb, options)
    application = hydra.main(version_base="1.3", config_path="pkg://towers.conf", config_name=verb.name)(job)
    with (
        stored(verb, schema),
        _sweep_folder(verb, options) as folder,
        mock.patch.dict(os.environ, {"HYDRA_FULL_ERROR": "1"}),
        mock.patch.object(sys, "argv", [f"towers {verb.name}", *options, *folder]),
    ):
        application()


def _refuse_search(verb: Verb, options: list[str]) -> None:
    """Refuse what means nothing to one run."""
    for option in options:
        if re.match(r"hydra[./]sweeper\b", option):
            raise ConfigError(f"{option} is of a sweep, and this is one run; add -m, or leave it out")
        if verb.name == "train" and option.startswith("sweep=") and option != "sweep=null":
            raise ConfigError(f"{option} names a space to search, and this is one run; add -m, or leave it out")


def composed(verb: Verb, words: list[str]) -> object:
    """Return the configuration that these words stand for, without running anything.

    Args:
        verb: The verb.
        words: Options as the user would type them.
    """
    schema = schema_of(verb)
    options = prepared(verb, schema, words)
    inside = GlobalHydra.instance().is_initialized()  # the demo composes its steps within its own job
    outside = nullcontext() if inside else initialize_config_module("towers.conf", version_base="1.3")
    with outside, stored(verb, schema):
        return _converted(verb, compose(verb.name, overrides=options))


def job_name() -> str:
    """Return what tells this job from the others of its sweep; nothing outside of a sweep."""
    number = job_number()
    return "" if number is None else f"job {number} ({HydraConfig.get().job.override_dirname})"


def job_number() -> int | None:
    """Return the place of this job in its sweep; None outside of a sweep."""
    setting = HydraConfig.get()
    return setting.job.num if setting.mode == RunMode.MULTIRUN else None


def job_options() -> dict[str, str]:
    """Return what this job was told, by option, as the user would type it."""
    pairs = (option.partition("=") for option in HydraConfig.get().overrides.task)
    return {name.lstrip("+~"): value for name, _, value in pairs}


def sweep_folder(verb: Verb, words: list[str]) -> Path | None:
    """Return the folder that the folders of a sweep's jobs lie in; None where they have none in common."""
    if not verb.output or job_number() is None or _value(verb.output, words) is None:
        return None
    return Path(HydraConfig.get().sweep.dir)


def configured(verb: Verb, words: list[str], options: DictConfig) -> object:
    """Return the composed options of a job as the verb's dataclass.

    Within a sweep every job gets its own folder: `run=DIR` becomes `run=DIR/0`, `run=DIR/1` and so on.

    Raises:
        ConfigError: An option that has no default was not given.
    """
    if sweep_folder(verb, words) is not None:
        options[verb.output] = f"{options[verb.output]}/{job_number()}"
    return _converted(verb, options)


def _converted(verb: Verb, options: DictConfig) -> object:
    missing = sorted(OmegaConf.missing_keys(options))
    if missing:
        needed = " and ".join(f"{path}=…" for path in missing)
        raise ConfigError(f"towers {verb.name} needs {needed}; for example `{verb.examples[0]}`")
    found = OmegaConf.to_object(options)
    for path in _strays(found):
        group = path.rpartition(".")[0].replace(".", "/")
        raise ConfigError(f"{path}: the chosen {group} has no such option; `towers {verb.name} --help` says which has")
    return found


def _strays(node: object, path: str = "") -> Iterator[str]:
    """Yield what a dataclass, or one within it, was told without having a field for it: OmegaConf takes it silently."""
    if not is_dataclass(node):
        return
    names = {field.name for field in fields(node)}
    for name, value in vars(node).items():
        yield from _strays(value, f"{path}{name}.") if name in names else [f"{path}{name}"]


@contextmanager
def _sweep_folder(verb: Verb, options: list[str]) -> Iterator[list[str]]:
    """Yield the options that keep a sweep's own notes out of the working directory."""
    if not set(SWEEPS) & set(options):
        yield []
        return
    with tempfile.TemporaryDirectory() as scratch:
        common = verb.output and _value(verb.output, options)
        folder = Path(str(OverridesParser.create().parse_override(f"folder={common}").value())) if common else None
        there = folder is not None and folder.exists()
        if folder:
            _refuse_foreign(verb, folder)
        try:
            yield [f"hydra.sweep.dir={common or scratch}", "hydra.sweep.subdir='${hydra.job.num}'"]
        finally:
            if folder:
                _leave_no_trace(folder, there=there)


def _refuse_foreign(verb: Verb, folder: Path) -> None:
    """Refuse a folder for a sweep's jobs that holds something else, such as a run."""
    own = re.compile(rf"\d+|sweep\..*|{re.escape(NOTES)}")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    foreign = [name for name in names if not own.fullmatch(name)]
    if foreign:
        first = min(foreign, key=lambda name: (name.startswith("."), name))  # hidden files tell people least
        raise ConfigError(
            f"{folder} holds {first} and is no sweep, whose jobs lie in {verb.output}=FOLDER/0, FOLDER/1 and so "
            f"on; choose another {verb.output}=FOLDER"
        )


def _leave_no_trace(folder: Path, *, there: bool) -> None:
    """Remove what Hydra writes before the first job, where that is all that there is; a folder that was there stays."""
    if {path.name for path in folder.rglob("*") if path.is_file()} != {NOTES}:
        return
    for path in [*folder.iterdir()] if there else [folder]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _value(path: str, options: list[str]) -> str | None:
    """Return the one value that the user gave to an option, None when there is none or it is swept."""
    given = [option for option in options if option.partition("=")[0] == path]
    if not given or OverridesParser.create().parse_override(given[-1]).is_sweep_override():
        return None
    return given[-1].partition("=")[2]
