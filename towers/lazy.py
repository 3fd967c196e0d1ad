"""Names that are imported when they are first asked for: what serves need not load, nor even have, what trains."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

EXTRAS = {
    "train": "torch pytorch_lightning torchmetrics safetensors faiss duckdb matplotlib tensorboard",
    "serve": "uvicorn uvloop httptools msgspec prometheus_client httpx",
    "redis": "redis",
    "sweep": "optuna",
}
"""What each extra brings, by the names under which it is imported."""


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
            raise worded(f"{room}.{name}", error) from error
        setattr(sys.modules[room], name, value)
        return value

    return named


def worded(what: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    """Return an error that names the package and the extra to install; one like the given where no extra brings it.

    Args:
        what: What was asked for.
        error: Why there is none of it.
    """
    from towers.types import NotInstalledError

    needed = (error.name or "").partition(".")[0]
    extra = next((extra for extra, names in EXTRAS.items() if needed in names.split()), None)
    if extra is None:
        return ModuleNotFoundError(*error.args, name=error.name)
    install = f"pip install -c requirements.lock -e '.[{extra}]' in the checkout"
    return NotInstalledError(f"{what} needs {needed}; {install}", name=error.name)
