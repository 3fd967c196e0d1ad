"""What the user typed after the verb: checked for spelling, and quoted where Hydra's grammar would misread it."""

import difflib
import re
from collections.abc import Iterable

from towers.cli.schema import Schema
from towers.cli.verbs import Verb
from towers.types import ConfigError

SWEEPS = ("-m", "--multirun")
SHOWS = ("-c", "--cfg", "-i", "--info")
"""Flags of Hydra that have several runs made, and that have none: the configuration is shown."""
FLAGS = (*SWEEPS, "--resolve")
VALUED_FLAGS = (*SHOWS, "-p", "--package", "-cd", "--config-dir")
"""Hydra's flags that make sense here, without and with a value; `--help` and `--debug` are ours."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` with the known word that this one is short for, or looks most like, or nothing.

    Example:
        >>> nearest("evalute", ["train", "evaluate"])
        "; did you mean 'evaluate'?"
        >>> nearest("optim.lr", ["optim.clip", "optim.learning_rate"])
        "; did you mean 'optim.learning_rate'?"
    """
    names = list(known)
    group, last = _parts(word)
    own = [name for name in names if group and _parts(name)[0] == group]
    for scope in (own, names):
        short = [name for name in scope if short_for(last, _parts(name)[1])]
        # Of other groups than one that exists, only what the word is short for: looks alone mislead.
        cutoff = 1.0 if own and scope is names else 0.6
        alike = difflib.get_close_matches(last, [_parts(name)[1] for name in scope], n=1, cutoff=cutoff)
        if meant := short or [name for name in scope if _parts(name)[1] in alike]:
            return f"; did you mean {difflib.get_close_matches(word, meant, n=1, cutoff=0.0)[0]!r}?"
    return ""


def _parts(name: str) -> tuple[str, str]:
    """Return what stands before the last dot or slash of a name, and what stands behind it."""
    group, _, last = name.replace("/", ".").rpartition(".")
    return group, last


def short_for(word: str, name: str) -> bool:
    """Say whether a word is how a name begins, or is put together from beginnings of all its parts.

    Example:
        >>> [short_for(word, "learning_rate") for word in ("lr", "learn_rate", "learn", "rate", "lrs")]
        [True, True, True, False, False]
    """
    if not word or name.startswith(word):
        return bool(word)
    rests = {word.replace("_", "")}
    for part in name.split("_"):
        beginnings = [part[:length] for length in range(1, len(part) + 1)]
        rests = {rest.removeprefix(begun) for rest in rests for begun in beginnings if rest.startswith(begun)}
    return "" in rests


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
    if re.match(r"hydra\b|(experiment|sweep)$", path):
        return option
    known = schema.paths()
    groups = [choice.group for choice in schema.choices]
    if path not in groups and path.replace(".", "/") in groups:
        raise ConfigError(f"{option} names a choice; write {path.replace('.', '/')}={value}")
    mappings = [o.path for o in schema.every_option() if o.kind.startswith("name: ")]
    if any(path == mapping or path.startswith(f"{mapping}.") for mapping in mappings):
        return option if name.startswith("~") else f"++{path}={value}"
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
