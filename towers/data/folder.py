"""Folders and files that are either wholly there or not there at all."""

import fcntl
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from towers.types import DataError

PARTIAL = "partial"
REPLACED = "replaced"


@contextmanager
def atomic_folder(target: Path, own: Sequence[str] = ()) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well.

    The folder lies beside the target as `<target>.partial-<random>`. At the end all is
    flushed to disk and renamed into place; a folder that stood there is moved aside first
    and removed after. When the block raises, the partial folder goes and the target stays
    as it was. A folder at work is locked, and the lock ends with its process. What killed
    processes left behind is cleaned up at the start: their partial folders go, and a target
    they had moved aside comes back. Where the disk has no locks, leftovers stay.

    Args:
        target: Where the folder shall stand; parents are made.
        own: What a folder to be replaced may hold, and first what it must hold, so that
            nothing that somebody else put there is ever lost; anything, when empty.

    Raises:
        DataError: The target is a file, or a folder that holds something else than its own.

    Example:
        >>> import tempfile
        >>> place = Path(tempfile.mkdtemp()) / "dataset"
        >>> with atomic_folder(place) as partial:
        ...     write_json(partial / "manifest.json", {"rows": 1})
        >>> sorted(path.name for path in place.iterdir())
        ['manifest.json']
    """
    target = Path(target).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _clean(target)
    _refuse_foreign(target, own)
    with ExitStack() as locks:
        partial = _begin(target, locks)
        try:
            yield partial
            _flush_tree(partial)
            _refuse_foreign(target, own)  # what came while we worked
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        aside = target.with_name(f"{target.name}.{REPLACED}-{secrets.token_hex(4)}")
        if target.exists():
            _lock(target, locks)
            target.rename(aside)
        partial.rename(target)
        _flush(target.parent)
        if aside.exists():
            shutil.rmtree(aside)


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401
    """Write JSON so that the file holds the old or the new text, never a part; equal values give equal bytes.

    Args:
        path: The file; its folder must exist.
        value: Anything that JSON can say; NaN is refused.

    Raises:
        ValueError: The value holds NaN or an infinity.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.json"
        >>> write_json(path, {"b": 1, "a": 2})
        >>> path.read_text().split()
        ['{', '"a":', '2,', '"b":', '1', '}']
    """
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    partial = path.with_name(f".{path.name}.{PARTIAL}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def _clean(target: Path) -> None:
    pattern = re.compile(rf"{re.escape(target.name)}\.({PARTIAL}|{REPLACED})-[0-9a-f]+")
    for path in sorted(target.parent.iterdir()):
        match = pattern.fullmatch(path.name)
        if match is None:
            continue
        with ExitStack() as locks:
            if not _lock(path, locks, wait=False) or not path.exists():
                continue
            if match[1] == REPLACED and not target.exists():
                path.rename(target)
            else:
                shutil.rmtree(path)


def _begin(target: Path, locks: ExitStack) -> Path:
    """Make a locked partial folder; anew when somebody's cleaning came between making and locking."""
    while True:
        partial = target.with_name(f"{target.name}.{PARTIAL}-{secrets.token_hex(4)}")
        partial.mkdir()
        _lock(partial, locks)
        if partial.exists():
            return partial


def _lock(folder: Path, locks: ExitStack, *, wait: bool = True) -> bool:
    """Hold a folder until the stack or the process ends; return whether that worked.

    A pid in the name could not tell the living from the dead: in containers every process may be number 1.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    locks.callback(os.close, handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # held by the living, or a disk that locks no folders
    return True


def _refuse_foreign(target: Path, own: Sequence[str]) -> None:
    if target.exists() and not target.is_dir():
        raise DataError(f"{target} is a file; expected a folder or nothing there; choose another place")
    held = sorted(path.name for path in target.iterdir()) if own and target.exists() else []
    if held and own[0] not in held:
        raise DataError(
            f"{target} holds files but no {own[0]}, so it was not made by towers and is not replaced; "
            "choose another folder, or empty this one"
        )
    for name in held:
        if name not in own:
            raise DataError(
                f"{target} also holds {name}, which prepare did not write; move it, or choose another dataset=DIR"
            )


def _flush_tree(folder: Path) -> None:
    for parent, _, files in os.walk(folder):
        for name in files:
            _flush(Path(parent) / name)
        _flush(Path(parent))


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
