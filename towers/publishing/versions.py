"""The root of a bundle: numbered versions, a pointer to the current one, one publisher at a time."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towers.data import write_json
from towers.publishing.checksums import MANIFEST
from towers.types import BundleError, hold_alone

VERSIONS, CURRENT, LOCK = "versions", "current", ".lock"
_NAME = re.compile(r"\d{6}-[0-9a-f]{8}")
_LEFTOVER = re.compile(r"\d{6}-[0-9a-f]{8}\.[a-z]+-.+")


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Hold the bundle for one publisher; what killed publishers left behind is removed first.

    The lock is the kernel's, so it ends with its process, however that ends.

    Raises:
        BundleError: The folder holds other things than a bundle, or somebody publishes into it now.
    """
    if root.exists() and not root.is_dir():
        raise BundleError(f"{root} is a file; give bundle= a folder")
    if root.exists() and any(root.iterdir()) and not (root / VERSIONS).is_dir():
        raise BundleError(f"{root} holds files but no bundle; give bundle= an empty or new folder")
    (root / VERSIONS).mkdir(parents=True, exist_ok=True)
    with (root / LOCK).open("w") as lock:
        hold_alone(lock, BundleError(f"another process is publishing into {root}; wait until it has ended"))
        _clean(root)
        yield


def _clean(root: Path) -> None:
    for path in (root / VERSIONS).iterdir():
        if _LEFTOVER.fullmatch(path.name):
            shutil.rmtree(path)
    for path in root.glob(f".{CURRENT}.*"):
        path.unlink()


def version_names(root: Path) -> list[str]:
    """Return the complete versions, oldest first."""
    return sorted(path.name for path in (root / VERSIONS).iterdir() if _NAME.fullmatch(path.name))


def next_name(root: Path, content: str) -> str:
    """Return the name of the version to come: a number one higher than the last, and 8 digits of its content's hash."""
    last = max((int(name[:6]) for name in version_names(root)), default=0)
    return f"{last + 1:06d}-{content[:8]}"


def _instead(root: Path) -> str:
    """Return how to come to a bundle from a folder that is none."""
    if (root / "bundle" / CURRENT).is_file():
        return f", and holds one: give {root / 'bundle'}"
    if (root / "run.json").is_file():
        return f" but a run; publish it: towers publish run={root} bundle=FOLDER, and give that folder"
    what = f"{CURRENT} is missing" if root.is_dir() else "there is no such folder"
    return f": {what}; make one: towers publish run=… bundle={root}"


def current_name(root: Path) -> str:
    """Return the version that the pointer names.

    Raises:
        BundleError: There is no pointer, or it names nothing that could be a version.
    """
    pointer = root / CURRENT
    if not pointer.is_file():
        raise BundleError(f"{root} is no bundle{_instead(root)}")
    try:
        name = json.loads(pointer.read_text(encoding="utf-8"))["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{pointer} cannot be read ({error!r}); publish again") from error
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BundleError(f"{pointer} names {name!r}, which is no version; publish again")
    return name


def point_to(root: Path, name: str) -> None:
    """Make a version the current one; readers see the old pointer or the new one, never a part."""
    write_json(root / CURRENT, {"version": name})


def prune(root: Path, keep: int) -> list[str]:
    """Remove all but the last `keep` versions, never the current one; return what went."""
    current = current_name(root)
    gone = [name for name in version_names(root)[:-keep] if name != current]
    for name in gone:
        aside = root / VERSIONS / f"{name}.removed-{os.getpid()}-{secrets.token_hex(4)}"
        (root / VERSIONS / name).rename(aside)
        shutil.rmtree(aside)
    return gone


def version_folder(folder: Path) -> Path:
    """Return the folder of a version: the one given, or the current one of the bundle given.

    Raises:
        BundleError: The folder is neither, the version given has been removed, or the pointer names a version that
            is not there.
    """
    if (folder / MANIFEST).is_file():
        return folder
    place = folder.absolute()
    of_version = place.parent.name == VERSIONS and _NAME.fullmatch(place.name) is not None
    root = place.parents[1] if of_version else folder
    name = current_name(root)
    chosen = root / VERSIONS / name
    if not (chosen / MANIFEST).is_file():
        raise BundleError(f"bundle {root} points to version {name}, which lacks {MANIFEST}; publish again")
    if of_version:
        what = f"lacks {MANIFEST}" if place.is_dir() else "is not there"
        raise BundleError(f"version {place.name} {what}; {root}'s current version is {name}")
    return chosen
