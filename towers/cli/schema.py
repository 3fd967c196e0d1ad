"""What a verb can be told: options and choices, read from its dataclasses and their docstrings."""

import ast
import inspect
import itertools
import re
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum

from towers.cli.verbs import Verb, named


@dataclass(frozen=True, kw_only=True)
class Option:
    """One thing that can be set.

    Attributes:
        path: What stands left of the equals sign, such as `model.dim`.
        kind: What may stand right of it, in words.
        default: What holds when it is not given; None when it must be given.
        text: What it means.
    """

    path: str
    kind: str
    default: str | None
    text: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the things that a choice can be.

    Attributes:
        name: What the user types.
        node: Its dataclass.
        text: What it is, in one line.
        options: Its own options.
    """

    name: str
    node: type
    text: str
    options: tuple[Option, ...]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A place where one of several variants stands.

    Attributes:
        group: What stands left of the equals sign, such as `loss` or `model/history`.
        text: What it means.
        variants: What can stand there.
    """

    group: str
    text: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True, kw_only=True)
class Schema:
    """All that a verb can be told.

    Attributes:
        node: The dataclass of its configuration.
        options: What can be set whatever is chosen.
        choices: What can be chosen.
    """

    node: type
    options: tuple[Option, ...]
    choices: tuple[Choice, ...]

    def paths(self) -> list[str]:
        """Return everything that may stand left of an equals sign."""
        names = [*(option.path for option in self.every_option()), *(choice.group for choice in self.choices)]
        return list(dict.fromkeys(names))

    def every_option(self) -> list[Option]:
        """Return all options, those of every variant included."""
        variants = [variant for choice in self.choices for variant in choice.variants]
        return [*self.options, *(option for variant in variants for option in variant.options)]


def schema_of(verb: Verb) -> Schema:
    """Read the schema of a verb from its dataclasses."""
    node = typing.cast("type", named(verb.config))
    families = [typing.cast("dict[str, type]", named(place)) for place in verb.groups]
    found = list(_walk(node, "", families))
    return Schema(
        node=node,
        options=tuple(item for item in found if isinstance(item, Option)),
        choices=tuple(item for item in found if isinstance(item, Choice)),
    )


def field_texts(node: type) -> dict[str, str]:
    """Return what a class says of each field, under the field or under `Attributes:`, its parents' words included.

    Example:
        >>> from towers.types import Geometry
        >>> field_texts(Geometry)["dot"]
        'Inner product of vectors of any length; higher is better.'
    """
    texts: dict[str, str] = {}
    for parent in reversed(node.__mro__):
        if parent.__module__ not in {"builtins", "abc", "enum"}:
            texts |= _attributes(inspect.getdoc(parent) or "") | _own_texts(parent)
    return texts


def _attributes(docstring: str) -> dict[str, str]:
    _, _, section = docstring.partition("\nAttributes:\n")
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section.partition("\n\n")[0], re.MULTILINE)
    return {name: _plain(text) for name, text in entries}


def _own_texts(node: type) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(node))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    texts = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            words = _plain(str(following.value.value))
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                texts[statement.target.id] = words
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                texts[statement.targets[0].id] = words
    return texts


def _walk(node: type, prefix: str, families: list[dict[str, type]]) -> Iterator[Option | Choice]:
    hints, texts = typing.get_type_hints(node), field_texts(node)
    for item in fields(node):
        hint, path, text = hints[item.name], prefix + item.name, texts.get(item.name, "")
        family = _family_of(hint, families)
        if family is not None:
            variants = tuple(_variant(name, variant, path, families) for name, variant in family.items())
            yield Choice(group=path.replace(".", "/"), text=text, variants=variants)
        elif isinstance(hint, type) and is_dataclass(hint):
            yield from _walk(hint, f"{path}.", families)
        else:
            yield Option(path=path, kind=_kind(hint), default=_default(item), text=text)


def _family_of(hint: object, families: list[dict[str, type]]) -> dict[str, type] | None:
    if isinstance(hint, type) and inspect.isabstract(hint):
        return next((family for family in families if all(issubclass(v, hint) for v in family.values())), None)
    return None


def _variant(name: str, node: type, path: str, families: list[dict[str, type]]) -> Variant:
    options = tuple(item for item in _walk(node, f"{path}.", families) if isinstance(item, Option))
    return Variant(name=name, node=node, text=_what_and_when(inspect.getdoc(node) or ""), options=options)


def _what_and_when(docstring: str) -> str:
    r"""Return what a docstring says first, and what it recommends; names of classes without their markup.

    Example:
        >>> _what_and_when("A mean.\n\nMore.\n\nRecommendation: at first; then :class:`a.Better`.\n\nSource:")
        'A mean. Recommendation: at first; then Better.'
    """
    parts = docstring.split("\n\n")
    told = [parts[0], *(part for part in parts[1:] if part.startswith("Recommendation:"))]
    return _plain(" ".join(told))


def _plain(text: str) -> str:
    """Return words as one line, what is named in them without its markup."""
    return re.sub(r":\w+:`(?:[\w.]*\.)?(\w+)`", r"\1", " ".join(text.split()))


def _kind(hint: object) -> str:
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        return " or ".join(_kind(part) for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is list:
        return f"list of {_kind(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) is dict:
        return "name: " + _kind(typing.get_args(hint)[1])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "|".join(hint.__members__)
    names: dict[object, str] = {
        bool: "true|false",
        int: "whole number",
        float: "number",
        str: "text",
        typing.Any: "value or list of values",
    }
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _default(item: Field[object]) -> str | None:
    if item.default_factory is not MISSING:
        value = item.default_factory()
    elif item.default is not MISSING:
        value = item.default
    else:
        return None
    return written(value)


def written(value: object) -> str:
    """Return a value as the user would type it.

    Example:
        >>> written([1, None, True]), written("")
        ('[1,null,true]', "''")
    """
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{','.join(written(part) for part in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{written(part)}" for key, part in value.items()) + "}"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) or "''"
