"""Which fields there are where a body names one that there is not."""

import re
from collections.abc import Iterator

import msgspec
from msgspec import inspect

_UNKNOWN = re.compile(r"Object contains unknown field `.*?`(?: - at `\$(?P<path>.*)`)?", re.DOTALL)
_STEP = re.compile(r"\.(\w+)|\[")


def with_fields(error: msgspec.ValidationError, body: object) -> str:
    """Return what a body's decoder said and, of an unknown field, the fields that could have been meant.

    Args:
        error: As `msgspec.json.decode(data, type=body)` raised it.
        body: The body's type.

    Example:
        >>> class Watch(msgspec.Struct, forbid_unknown_fields=True):
        ...     video_id: int
        >>> try:
        ...     msgspec.json.decode(b'[{"video": 3}]', type=list[Watch])
        ... except msgspec.ValidationError as error:
        ...     with_fields(error, list[Watch])
        'Object contains unknown field `video` - at `$[0]`; the fields are video_id'
    """
    found = _UNKNOWN.fullmatch(str(error))
    if not found:
        return str(error)
    kinds = list(_alternatives(inspect.type_info(body)))
    for step in _STEP.finditer(found["path"] or ""):
        kinds = [kind for outer in kinds for inner in _inside(outer, step[1]) for kind in _alternatives(inner)]
    names = [field.encode_name for kind in kinds if isinstance(kind, inspect.StructType) for field in kind.fields]
    return f"{error}; the fields are {', '.join(names)}" if names else str(error)


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
