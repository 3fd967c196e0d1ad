"""Rooms whose names are imported when they are first asked for: what serves need not load what trains."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def names_of(room: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return a room's `__getattr__`; a name must not be that of a module of the room, which would hide it.

    Args:
        room: The package, as its `__name__` says it.
        modules: Of each module of the room the names that the room gives away.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def named(name: str) -> Any:  # noqa: ANN401
        if name not in module_of:
            raise AttributeError(f"module {room!r} has no attribute {name!r}; it has {', '.join(sorted(module_of))}")
        value = getattr(import_module(f"{room}.{module_of[name]}"), name)
        setattr(sys.modules[room], name, value)
        return value

    return named
