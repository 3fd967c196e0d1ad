"""Turns what Hydra, OmegaConf and the operating system raise into one line that helps."""

import re

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from towers.cli.options import SWEEPS, nearest
from towers.cli.schema import Schema
from towers.cli.verbs import Verb
from towers.lazy import worded
from towers.types import TowersError


def explain(error: Exception, verb: Verb, schema: Schema | None, options: list[str]) -> str | None:
    """Return what to tell the user, None when the error is a defect of ours.

    Args:
        error: What was raised.
        verb: What the user asked for.
        schema: What the verb can be told, when that much is known.
        options: What the user typed.
    """
    if isinstance(error, ModuleNotFoundError) and not isinstance(error, TowersError):
        error = worded(f"towers {verb.name}", error)
    if isinstance(error, TowersError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return _unknown_choice(error, schema)
    if isinstance(error, OverrideParseException):
        typed = error.override.removeprefix("++")  # which we put in front of what goes into a mapping
        if found := re.match(r"([^={}]+)=([^={}\[:]+):\[", typed):
            whole = f"'{found[1]}={{{found[2]}:[one,other]}}'"
            return f"cannot read the option {typed!r}: a shell takes braces apart; quote all of it, as in {whole}"
        return f"cannot read the option {typed!r}: quote its value, as in {_requoted(typed)}"
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else error
    if isinstance(cause, OmegaConfBaseException):
        return _refused(cause, verb, schema, options)
    if isinstance(error, HydraException):
        return _reworded(str(error).splitlines()[0], schema)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}{_remedy(error)}" if error.filename else error.strerror
    return None


def _reworded(text: str, schema: Schema | None) -> str:
    """Return in our words what Hydra says of several values where one is expected; all else as it is."""
    if found := re.match(r"Ambiguous value for argument '(.*)'", text):
        name, _, value = found[1].partition("=")
        lists = {option.path for option in (schema.every_option() if schema else ()) if option.kind.startswith("list")}
        written = f": {name}=[{value}] is a list, and" if name in lists else ";"
        return f"{found[1]} has several values{written} with -m each is run by itself"
    if found := re.match(r"Sweep parameters '(.*)' requires --multirun", text):
        return f"{found[1]} has several values, one for each run; add -m, or give it one"
    return text


def _remedy(error: OSError) -> str:
    """Return what to look at where a path cannot be made or read."""
    if isinstance(error, FileNotFoundError | PermissionError | NotADirectoryError | IsADirectoryError):
        return "; is the path right, and may you write there?"
    if isinstance(error, FileExistsError):
        return ", as a file where a folder is wanted; give another"
    return ""


def _requoted(option: str) -> str:
    name, _, value = option.partition("=")
    return f"""'{name}="{value}"'"""


def _unknown_choice(error: MissingConfigException, schema: Schema | None) -> str:
    missing = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = missing.rpartition("/")
    names = sorted(error.options or ())
    for choice in schema.choices if schema else ():
        if choice.group == group:
            names = [variant.name for variant in choice.variants]
    return f"{group}={name}: expected {_either(names)}{nearest(name, names)}"


def _refused(error: OmegaConfBaseException, verb: Verb, schema: Schema | None, options: list[str]) -> str:
    """Explain an option with a value of the wrong kind, or one that the chosen variant does not have."""
    path = re.sub(r"\[\d+\]", "", str(error.full_key or ""))
    recipes = [f"{path}, of {option}" for option in options if option.startswith("experiment=")]
    if path.startswith("hydra.sweeper."):
        return f"{path} is of a search, which sweep=NAME or hydra/sweeper=optuna asks for; give one, or leave it out"
    last_first = options[::-1]  # of an option that was given twice the last holds
    typed = next((o for o in last_first if o.lstrip("+~").partition("=")[0] == path), next(iter(recipes), path))
    if isinstance(error, ConfigKeyError | AttributeError) and schema:
        for choice in schema.choices:
            place = choice.group.replace("/", ".") + "."
            owners = [v.name for v in choice.variants if path in {o.path for o in v.options}]
            if path.startswith(place) and owners:
                return f"{typed}: only {choice.group}={_either(owners)} has this option"
    for option in schema.every_option() if schema else ():
        if option.path == path or (option.kind.startswith("name: ") and path.startswith(f"{option.path}.")):
            words = option.kind.removeprefix("name: ").split("|")
            wanted = _either(words) if len(words) > 1 else _WANTED.get(option.kind, option.kind)
            typed, value = (typed, typed.partition("=")[2]) if "=" in typed else _within(path, option.path, last_first)
            return f"{typed}: expected {wanted}{_of_several(path, value, wanted, options)}{nearest(value, words)}"
    return f"{typed}: {str(error).splitlines()[0]} (`towers {verb.name} --help` lists the options)"


def _within(path: str, mapping: str, options: list[str]) -> tuple[str, str]:
    """Return what was typed for a whole mapping, and what it says of one name; just the name where nothing was."""
    typed = next((option for option in options if option.lstrip("+~").partition("=")[0] == mapping), path)
    found = re.search(rf"\b{re.escape(path.rpartition('.')[2])}['\"]?\s*:\s*['\"]?(\w+)", typed)
    return typed, found[1] if found else ""


def _of_several(path: str, value: str, wanted: str, options: list[str]) -> str:
    """Return what to do where several values stand for one."""
    if value[:1] != "[" or wanted[-1] == "]":
        return ""
    if path in {"data.events", "data.users", "data.videos"}:
        return f"; several files are a folder, or a pattern in quotes, as in '{path}=part-*.csv'"
    return f"; to try each, {path}={value[1:-1]}{'' if set(SWEEPS) & set(options) else ' and -m'}"


_WANTED = {
    "whole number": "a whole number",
    "number": "a number",
    "list of whole number": "whole numbers in brackets, as in [1,2]",
    "list of number": "numbers in brackets, as in [0.1,0.2]",
    "list of text": "texts in brackets, as in [a,b]",
}


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "nothing"
