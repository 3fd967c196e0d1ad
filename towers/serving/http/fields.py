"""What is wrong with a body: which value is not what it should be, which fields there are where one is unknown."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

import msgspec
from msgspec import inspect

_UNKNOWN = re.compile(r"Object contains unknown field `.*?`(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_UNSUITED = re.compile(r"(?P<what>Expected .*?)(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[")
_PLACE = re.compile(r"\.(\w+)|\[(\d+)\]")
_SHOWN, _READ, _DEEP = 60, 65_536, 16
"""How many characters of a value are shown; of how long a body, and from how deep, since others wait meanwhile."""


def explained(error: msgspec.ValidationError, body: object, data: bytes) -> str:
    """Return what is wrong with a body: the value and where it stands; of an unknown field, which ones there are.

    Args:
        error: As `msgspec.json.decode(data, type=body)` raised it.
        body: The body's type.
        data: The body.

    Example:
        >>> class Watch(msgspec.Struct, forbid_unknown_fields=True):
        ...     video_id: int
        >>> for data in (b'[{"video": 3}]', b'[{"video_id": 3}, {"video_id": "4a"}]'):
        ...     try:
        ...         msgspec.json.decode(data, type=list[Watch])
        ...     except msgspec.ValidationError as error:
        ...         explained(error, list[Watch], data)
        'Object contains unknown field `video` - at `$[0]`; the fields are video_id'
        '[1].video_id is "4a"; expected `int`, got `str`'
    """
    unsuited = _UNSUITED.fullmatch(str(error))
    if unsuited and len(data) <= _READ:
        path = unsuited["path"] or ""
        try:
            value = _value_at(path, msgspec.json.decode(data))
        except (LookupError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return str(error)  # it lies where no path leads, or further on is no JSON that can be read
        shown = msgspec.json.encode(value).decode()
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        return f"{path.removeprefix('.') or 'the body'} is {shown}; e{unsuited['what'][1:]}"
    found = _UNKNOWN.fullmatch(str(error))
    if not found:
        return str(error)
    kinds = list(_alternatives(inspect.type_info(body)))
    for step in islice(_STEP.finditer(found["path"] or ""), _DEEP):
        kinds = [kind for outer in kinds for inner in _inside(outer, step[1]) for kind in _alternatives(inner)]
    names = [field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields]
    return f"{error}; the fields are {', '.join(names)}" if names else str(error)


def _value_at(path: str, value: Any) -> Any:  # noqa: ANN401
    """Return what stands at the end of a path.

    Raises:
        LookupError: It cannot be followed, as `[...]`, which stands for any key of an object.
    """
    end = 0
    for step in _PLACE.finditer(path):
        key = step[1] or int(step[2])
        leads = isinstance(value, list if isinstance(key, int) else dict)
        if step.start() != end or not leads:
            break
        value, end = value[key], step.end()
    if end < len(path):
        raise LookupError(path)
    return value


def _alternatives(kind: inspect.Type) -> Iterator[inspect.Type]:
    """Yield the kinds that a value may have."""
    if isinstance(kind, inspect.UnionType):
        yield from kind.types
    else:
        yield kind


def _inside(kind: inspect.Type, name: str | None) -> Iterator[inspect.Type]:
    """Yield the kind of a struct's field; without a name, that of what a list or a dict holds."""
    if name:
        if isinstance(kind, inspect.StructType):
            yield from (field.type for field in kind.fields if field.encode_name == name)
    elif isinstance(kind, inspect.ListType):
        yield kind.item_type
    elif isinstance(kind, inspect.DictType):
        yield kind.value_type
