"""The texts of `towers --help` and `towers VERB --help`."""

import textwrap
from collections.abc import Iterable
from pathlib import Path

from towers.cli.schema import Option, Schema
from towers.cli.verbs import VERBS, Verb

WIDTH = 100


def overview() -> str:
    """Return the list of verbs."""
    width = max(map(len, VERBS))
    lines = [
        "towers: from a short-video app's logs of views to the candidates it serves.",
        "",
        "Usage: towers VERB option=value ...",
        "",
    ]
    for verb in VERBS.values():
        lines += [f"  {verb.name:<{width}}  {verb.summary}", f"  {'':<{width}}  {verb.examples[0]}", ""]
    closing = "`towers VERB --help` explains one verb, `towers --version` says which version this is."
    return "\n".join([*lines, closing, ""])


def explanation(verb: Verb, schema: Schema, conf: Path) -> str:
    """Return what a newcomer needs to use one verb.

    Args:
        verb: The verb.
        schema: What it can be told.
        conf: Folder of the YAML files, for the defaults of the choices and the named experiments.
    """
    parts = [f"towers {verb.name}: {verb.summary}", "", *_filled(verb.story), "", "Examples:"]
    parts += [f"  {example}" for example in verb.examples]
    required = [option for option in schema.options if option.default is None]
    optional = [option for option in schema.options if option.default is not None]
    if required:
        parts += ["", "Must be given:", *_options(required)]
    if optional:
        parts += ["", "Options:", *_options(optional)]
    chosen = default_choices(verb, conf)
    for choice in schema.choices:
        default = f" (default {chosen[choice.group]})" if chosen.get(choice.group) else ""
        parts += ["", *_filled(f"Choice {choice.group}=…{default}: {choice.text}".rstrip(": "))]
        for variant in choice.variants:
            parts += _filled(f"{choice.group}={variant.name}: {variant.text}", "  ", "      ")
            parts += [f"    {line}" for line in _options(variant.options)]
    for group in (group for group in NAMED if group in chosen):
        names = sorted(path.stem for path in (conf / group).glob("*.yaml"))
        parts += ["", *_filled(f"Choice {group}=…: {NAMED[group]}"), f"  {', '.join(names)}"]
    return "\n".join([*parts, "", *_filled(_CLOSING), ""])


NAMED = {
    "experiment": "a named set of options that was measured.",
    "sweep": "with -m, a space of options that Optuna searches; a search that was stopped goes on when it is called "
    "again. hydra.sweeper.n_trials is how many jobs in all, hydra.sweeper.params the space, "
    "hydra.sweeper.seed the seed; hydra.sweeper.weigh_seconds=false looks for what is good, however long it takes.",
}
"""What the choices mean that are files and nothing else."""
_CLOSING = (
    "-m runs every combination of values separated by commas, each into a numbered folder. "
    "--cfg job prints the options as composed and does nothing. --debug shows where an error comes from."
)


def default_choices(verb: Verb, conf: Path) -> dict[str, str | None]:
    """Return what stands in each choice of a verb when the user chooses nothing."""
    from omegaconf import OmegaConf

    written = OmegaConf.to_container(OmegaConf.load(conf / f"{verb.name}.yaml"))
    entries = written["defaults"] if isinstance(written, dict) else []
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    return {group: name for group, name in pairs if not group.startswith("override ")}


def _options(options: Iterable[Option]) -> list[str]:
    lines = []
    for option in options:
        default = "" if option.default in {None, "null"} else f" Default {option.default}."
        lines.append(f"  {option.path}=<{option.kind}>")
        lines += _filled(f"{option.text}{default}".strip(), "      ", "      ")
    return lines


def _filled(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest)
