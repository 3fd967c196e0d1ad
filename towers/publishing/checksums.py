"""SHA-256 of every file of a version, and the check that nothing has changed since."""

import hashlib
import json
import logging
from collections.abc import Container, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from towers.data import write_json
from towers.types import BundleError

_log = logging.getLogger(__name__)
MANIFEST, SEAL = "manifest.json", "manifest.sha256"
_REMEDY = "publish the run again, or copy the bundle again from where it came"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, threads: int = 1, known: Container[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path in the folder; of those known it is not asked."""
    paths = [path for path in _files(folder) if path.relative_to(folder).as_posix() not in known]
    with ThreadPoolExecutor(threads) as pool:  # hashing needs no lock of Python's
        return dict(zip((path.relative_to(folder).as_posix() for path in paths), pool.map(digest, paths), strict=True))


def sizes(folder: Path) -> dict[str, int]:
    """Return the bytes of every file below a folder, by its path in the folder."""
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in _files(folder)}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def verify_seal(folder: Path) -> None:
    """Check that the manifest is the one that was written.

    Raises:
        BundleError: The manifest or its seal has changed or is missing.
    """
    seal = folder / SEAL
    if not seal.is_file():
        raise BundleError(f"bundle {folder} is incomplete: {SEAL} is missing; {_REMEDY}")
    if seal.read_bytes() != f"{digest(folder / MANIFEST)}\n".encode():
        raise BundleError(f"bundle {folder} has changed: {MANIFEST} does not fit {SEAL}; {_REMEDY}")


def verify(folder: Path, expected: dict[str, str], threads: int = 1, compared: Path | None = None) -> None:
    """Check every byte of every file that the manifest lists, several files at once where there are threads.

    Args:
        folder: Of the version.
        expected: Each file's SHA-256.
        threads: How many read.
        compared: A page that says how the files stood when they were last read; a file that is the same, as large and
            not written since, is not read again. It is written anew. Whoever may change files may change the page.

    Raises:
        BundleError: Files are missing, altered, or not listed; all are named.
    """
    stands = {path.relative_to(folder).as_posix(): _stand(path) for path in _files(folder)}
    stood = _told(compared, folder)
    known = {name: digest for name, digest in expected.items() if stood.get(name) == [stands.get(name), digest]}
    found = known | digests(folder, threads, {*known, MANIFEST, SEAL})
    _compare(folder, expected, found)
    if compared is not None:
        try:
            write_json(compared, {str(folder): {name: [stands[name], digest] for name, digest in found.items()}})
        except OSError as error:
            _log.warning("%s cannot be written, so all files are read again the next time: %s", compared, error)


def _stand(path: Path) -> list[int]:
    """Return what of a file changes when it is written or another one takes its place."""
    told = path.stat()
    return [told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns]


def _told(compared: Path | None, folder: Path) -> dict[str, list[Any]]:
    """Return what the page says of a folder; nothing where it cannot be read."""
    try:
        page = json.loads(compared.read_text(encoding="utf-8")) if compared is not None else {}
        return dict(page.get(str(folder), {}))
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def verify_sizes(folder: Path, expected: dict[str, int] | dict[str, None]) -> None:
    """Check that the files are those that the manifest lists, and as large where it tells; nothing is read.

    Raises:
        BundleError: Files are missing, of another size, or not listed; all are named.
    """
    told = {name for name, size in expected.items() if size is not None}
    _compare(folder, expected, {name: size if name in told else None for name, size in sizes(folder).items()})


def _compare(folder: Path, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    found = {name: value for name, value in found.items() if name not in {MANIFEST, SEAL}}
    faults = {
        "missing": sorted(expected.keys() - found.keys()),
        "not listed in its manifest": sorted(found.keys() - expected.keys()),
        "changed": sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name]),
    }
    told = [
        f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} {what}" for what, names in faults.items() if names
    ]
    if told:
        raise BundleError(f"bundle {folder} is not as it was published: {'; '.join(told)}; {_REMEDY}")
