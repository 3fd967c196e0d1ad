"""The folder of a live index: numbered main parts and journals, a header that points to what is valid, a lock."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from towers.index.index import FORMAT, FORMATS
from towers.types import DataError, hold_alone

HEADER, LOCK = "index.json", "lock"
_NUMBERED = re.compile(r"(main|journal)-(\d{6,})")
_PARTIAL = ".partial"


def main_part(folder: Path, number: int) -> Path:
    """Return where a main part stands."""
    return folder / f"main-{number:06d}"


def journal_file(folder: Path, number: int) -> Path:
    """Return where a journal stands; that of a number begins when a main part of that number begins to be built."""
    return folder / f"journal-{number:06d}"


def journals_from(folder: Path, number: int) -> list[int]:
    """Return the numbers of the journals that hold what a main part of that number lacks, rising."""
    found = [_NUMBERED.fullmatch(path.name) for path in folder.iterdir()]
    return sorted(int(match[2]) for match in found if match and match[1] == "journal" and int(match[2]) >= number)


def read_header(folder: Path) -> dict[str, Any]:
    """Return the header; its `generation` is the number of the valid main part.

    Raises:
        DataError: There is none, or it is of something else than a live index of this version.
    """
    path = folder / HEADER
    if not path.is_file():
        raise DataError(f"{folder} holds no live index: {HEADER} is missing; make one with Live.create")
    header = json.loads(path.read_text(encoding="utf-8"))
    if header.get("kind") != "live" or header.get("format") not in FORMATS:
        raise DataError(
            f"{path} is of kind {header.get('kind')!r}, format {header.get('format')}; "
            f"expected a live index of format {FORMATS[0]} to {FORMAT}"
        )
    return header


def write_header(folder: Path, header: dict[str, Any]) -> None:
    """Make a header valid; after a crash there is the old one or the new one."""
    whole = {"kind": "live", "format": FORMAT} | header
    replace(folder / HEADER, json.dumps(whole, sort_keys=True, indent=1).encode())


def install(folder: Path, write: Callable[[Path], None]) -> None:
    """Have a folder written, that stands there wholly and on disk or not at all."""
    partial = folder.with_name(folder.name + _PARTIAL)
    write(partial)
    for parent, _, names in os.walk(partial):
        for name in names:
            flush(Path(parent) / name)
        flush(Path(parent))
    partial.rename(folder)
    flush(folder.parent)


def replace(path: Path, data: bytes) -> None:
    """Write a file so that it holds the old or the new bytes, on disk, never a part."""
    partial = path.with_name(path.name + _PARTIAL)
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Wait until a file or folder is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clean(folder: Path, generation: int) -> None:
    """Remove what belongs to no valid state: parts older than a generation, later ones never pointed to, halves."""
    for path in folder.iterdir():
        match = _NUMBERED.fullmatch(path.name)
        old = match is not None and int(match[2]) < generation
        unused = match is not None and match[1] == "main" and int(match[2]) > generation
        if old or unused or path.name.endswith(_PARTIAL):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def locked(folder: Path) -> IO[bytes]:
    """Return a file that, while it is open, keeps others from writing; the lock ends with its process.

    Raises:
        DataError: Somebody else writes.
    """
    file = (folder / LOCK).open("ab")
    elsewhere = f"{folder} is open for writing elsewhere; close it there, or open it here with write=False"
    hold_alone(file, DataError(elsewhere))
    return file
