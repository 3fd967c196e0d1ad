"""SHA-256 of every file of a version, and the check that nothing has changed since."""

import hashlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from towers.types import BundleError

MANIFEST, SEAL = "manifest.json", "manifest.sha256"
_REMEDY = "publish the run again, or copy the bundle again from where it came"


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path, threads: int = 1) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path in the folder."""
    paths = _files(folder)
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


def verify(folder: Path, expected: dict[str, str], threads: int = 1) -> None:
    """Check every byte of every file that the manifest lists, several files at once where there are threads.

    Raises:
        BundleError: Files are missing, altered, or not listed; all are named.
    """
    _compare(folder, expected, digests(folder, threads))


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
