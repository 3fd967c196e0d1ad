"""Names that are imported when they are first asked for: what serves need not load, nor even have, what trains."""

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
        try:
            value = getattr(import_module(f"{room}.{module_of[name]}"), name)
        except ModuleNotFoundError as error:
            if (error.name or "towers").partition(".")[0] == "towers" or "pip install" in str(error):
                raise
            raise ModuleNotFoundError(missing(f"{room}.{name}", error, "train"), name=error.name) from error
        setattr(sys.modules[room], name, value)
        return value

    return named


def missing(what: str, error: ModuleNotFoundError, extra: str) -> str:
    """Return what to tell who asks for something that needs what is not installed."""
    return f"{what} needs {error.name}; pip install -c requirements.lock -e '.[{extra}]' in the checkout"
