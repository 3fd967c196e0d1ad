"""Whether options are of the kinds that their fields say; Hydra checks what is typed, this what Python code gives."""

import operator
import types
import typing
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import PurePath
from typing import Any

from towers.types import ConfigError


def check_kinds(options: Any, place: str = "") -> None:  # noqa: ANN401 - a dataclass
    """Refuse options of which one is of another kind than its field; paths become texts, and names what they name.

    Args:
        options: A dataclass; those that it holds are looked through too.
        place: What the names of its fields stand behind, such as `model.`.

    Raises:
        ConfigError: Which option, its value, and what is expected in its place.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Oven:
        ...     degrees: float = 180
        >>> check_kinds(Oven(200))
        >>> check_kinds(Oven("hot"), "oven.")
        Traceback (most recent call last):
        towers.types.ConfigError: oven.degrees is 'hot'; expected a number
    """
    for name, hint in _hints(type(options)).items():  # type: ignore[arg-type]
        value = getattr(options, name)
        plain = _plain(value, hint)
        if plain is not value:
            setattr(options, name, plain)
        if not _is(plain, hint):
            raise ConfigError(f"{place}{name} is {value!r}; expected {_words(hint)}")
        if is_dataclass(plain):
            check_kinds(plain, f"{place}{name}.")


def check_folders(options: Any, *names: str) -> None:  # noqa: ANN401 - a dataclass
    """Refuse a folder without a name, which would be the current one.

    Raises:
        ConfigError: An option is empty; it is named.

    Example:
        >>> check_folders(PurePath("runs/mine"), "name")
        >>> check_folders(PurePath(""), "name")
        Traceback (most recent call last):
        towers.types.ConfigError: name is empty; give a folder (a shell's variable that is not set leaves nothing)
    """
    for name in names:
        if not str(getattr(options, name)).strip():
            raise ConfigError(f"{name} is empty; give a folder (a shell's variable that is not set leaves nothing)")


def _plain(value: Any, hint: Any) -> Any:  # noqa: ANN401
    """Return a path as a text where one is wanted, and the member of an enumeration that a text names."""
    if isinstance(value, PurePath) and _is("", hint):
        return str(value)
    if isinstance(value, str) and isinstance(hint, type) and issubclass(hint, Enum):
        return hint.__members__.get(value, value)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and isinstance(value, list):
        plain = [_plain(each, parts[0]) for each in value]
        return value if all(map(operator.is_, value, plain)) else plain
    if origin is dict and isinstance(value, dict):
        named = {name: _plain(each, parts[1]) for name, each in value.items()}
        return value if all(map(operator.is_, value.values(), named.values())) else named
    return value


@cache
def _hints(options: Any) -> dict[str, object]:  # noqa: ANN401 - a dataclass
    hints = typing.get_type_hints(options)
    return {each.name: hints[each.name] for each in fields(options)}


def _is(value: object, hint: object) -> bool:
    """Say whether a value is of a kind; a whole number is a number too, and true and false are neither."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return True
    if origin in {types.UnionType, typing.Union}:
        return any(_is(value, part) for part in parts)
    if origin is list:
        return isinstance(value, list) and all(_is(each, parts[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _is(key, parts[0]) and _is(each, parts[1]) for key, each in value.items()
        )
    if origin is not None:
        return True  # of other containers nothing is known
    kinds = (int, float) if hint is float else (typing.cast("type", hint),)
    return isinstance(value, kinds) and (hint is bool or not isinstance(value, bool))


def _words(hint: object) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    names: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        bool: "True or False",
        str: "a text",
        type(None): "None",
    }
    if hint in names:
        return names[hint]
    if origin in {types.UnionType, typing.Union}:
        return " or ".join(_words(part) for part in parts)
    if origin is list:
        return f"a list, each of it {_words(parts[0])}"
    if origin is dict:
        return f"a dict, each value {_words(parts[1])}"
    kind = typing.cast("type", hint)
    if issubclass(kind, Enum):
        return _either([repr(name) for name in kind.__members__])
    room = ".".join(kind.__module__.split(".")[:-1])
    return f"{_either([f'{name}(…)' for name in sorted(_concrete(kind))])} of {room}"


def _either(names: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _concrete(kind: type[Any]) -> set[str]:
    """Return the names of the classes of a kind that can be made."""
    own: set[str] = set() if getattr(kind, "__abstractmethods__", None) else {kind.__name__}
    return own.union(*(_concrete(each) for each in kind.__subclasses__()))
