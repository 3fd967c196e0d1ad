"""What the user typed after the verb: checked for spelling, and quoted where Hydra's grammar would misread it."""

import difflib
import re
from collections.abc import Iterable

from towers.cli.schema import Schema
from towers.cli.verbs import Verb
from towers.types import ConfigError

SWEEPS = ("-m", "--multirun")
FLAGS = (*SWEEPS, "--resolve")
VALUED_FLAGS = ("-c", "--cfg", "-p", "--package", "-cd", "--config-dir", "-i", "--info")
"""Hydra's flags that make sense here, without and with a value; `--help` and `--debug` are ours."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the known word that looks most like this one, or nothing.

    Example:
        >>> nearest("evalute", ["train", "evaluate"])
        "; did you mean 'evaluate'?"
    """
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


def prepared(verb: Verb, schema: Schema, words: list[str]) -> list[str]:
    """Return the words as Hydra should read them: flags first, names checked, texts quoted.

    Args:
        verb: The verb that they follow.
        schema: What it can be told.
        words: What the user typed.

    Raises:
        ConfigError: A flag or an option that does not exist, or a word that is neither.
    """
    flags, options = _parted(verb, words)
    sweeps = bool(set(SWEEPS) & set(flags))
    return [*flags, *(_checked(verb, schema, option, sweeps=sweeps) for option in options)]


def _parted(verb: Verb, words: list[str]) -> tuple[list[str], list[str]]:
    flags: list[str] = []
    options: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        flag = word.partition("=")[0]
        if before in VALUED_FLAGS or flag in VALUED_FLAGS or word in FLAGS:
            flags.append(word)
        elif word.startswith("-"):
            raise ConfigError(
                f"there is no flag {word}{nearest(word, FLAGS)} (options are written option=value, "
                f"`towers {verb.name} --help` lists them)"
            )
        else:
            options.append(word)
    return flags, options


def _checked(verb: Verb, schema: Schema, option: str, *, sweeps: bool) -> str:
    name, equals, value = option.partition("=")
    path = name.lstrip("+~")
    if not path or not (equals or name.startswith("~")):
        raise ConfigError(f"{option!r} is no option; write option=value (`towers {verb.name} --help` lists them)")
    if re.match(r"hydra\b|experiment$", path):
        return option
    known = schema.paths()
    groups = [choice.group for choice in schema.choices]
    if path not in groups and path.replace(".", "/") in groups:
        raise ConfigError(f"{option} names a choice; write {path.replace('.', '/')}={value}")
    mappings = [o.path for o in schema.every_option() if o.kind.startswith("name: ")]
    if any(path.startswith(f"{mapping}.") for mapping in mappings):
        return f"++{path}={value}" if equals else option
    if path not in known:
        raise ConfigError(
            f"towers {verb.name} has no option {path!r}{nearest(path, known)} (`towers {verb.name} --help` lists them)"
        )
    texts = [*groups, *(o.path for o in schema.every_option() if o.kind == "text")]
    return f"{name}={_quoted(value)}" if path in texts and not sweeps else option


def _quoted(value: str) -> str:
    """Quote a text for Hydra, unless the user did or it is no text: `a = 1` and `007` stay what they are."""
    if value == "null" or re.fullmatch(r"'.*'|\".*\"|\[.*\]|\{.*\}", value, re.DOTALL):
        return value
    slashes_doubled = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), value)
    return f"'{slashes_doubled}'"
