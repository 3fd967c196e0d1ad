"""Named tuples of arrays as files, to be mapped: processes that read the same folder share its pages."""

from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

_HEADER = 128
"""Bytes before the numbers of a file; one that has no numbers cannot be mapped."""


def write_arrays(folder: Path, arrays: Any) -> None:  # noqa: ANN401
    """Write each field of a named tuple into a file of its name, and a named tuple in it into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays._asdict().items():
        if isinstance(array, np.ndarray):
            np.save(folder / f"{name}.npy", array)
        else:
            write_arrays(folder / name, array)


def read_arrays(folder: Path, kind: Any, **given: np.ndarray) -> Any:  # noqa: ANN401
    """Return what write_arrays wrote; nothing is read before it is used, and writing to it changes no file.

    Args:
        folder: Where it was written.
        kind: The named tuple.
        given: Fields that are not read, since those who wrote it did not know them.
    """
    fields = dict(given)
    for name, hint in get_type_hints(kind).items():
        if name not in given:
            nested = hasattr(hint, "_fields")
            fields[name] = read_arrays(folder / name, hint) if nested else _mapped(folder / f"{name}.npy")
    return kind(**fields)


def _mapped(path: Path) -> np.ndarray:
    if path.stat().st_size <= _HEADER:
        return np.load(path)
    return np.asarray(np.load(path, mmap_mode="c"))
