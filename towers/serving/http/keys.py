"""API keys: kept as hashes, each with what it may do and how often."""

import hashlib
import hmac
import json
import logging
import os
import secrets
import stat
import time
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from towers.data import write_json
from towers.kinds import check_kinds
from towers.types import ConfigError

_log = logging.getLogger(__name__)
_LOOK_S = 1.0
Stamp = tuple[int, int, int, int]
_UNREAD: Stamp = (-1, 0, 0, 0)
"""Of a file that could not be read: no file's own, so that it is tried again."""


class Scope(StrEnum):
    """What a key may do."""

    read = "read"
    """Ask for candidates, embeddings, what is similar, and what is served."""
    write = "write"
    """Tell events and videos; ask for and erase what is known of a person."""
    admin = "admin"
    """Change the version that is served."""


@dataclass
class Key:
    """One key.

    Attributes:
        name: What logs call it.
        digest: SHA-256 of the key itself, which is nowhere kept, in hex.
        scopes: What it may do.
        per_second: How many requests it may make a second, and at once; 0 for any number.
    """

    name: str
    digest: str
    scopes: frozenset[Scope]
    per_second: float = 0.0
    _left: float = 0.0
    _counted: float = 0.0

    def may_go(self, now: float) -> bool:
        """Return whether it may make a request now, and count it."""
        if not self.per_second:
            return True
        self._left = min(self.per_second, self._left + (now - self._counted) * self.per_second)
        self._counted = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Keys:
    """The keys of a file, which is looked at again every second: a key that was replaced there opens nothing more.

    Args:
        keys: All of them.
        path: Of the file; None where there is none.
        stamp: Of the file before it was read.
    """

    def __init__(self, keys: list[Key], path: Path | None = None, stamp: Stamp | None = None) -> None:
        self._keys, self._path, self._stamp = keys, path, stamp
        self._looked, self._trouble = clock(), ""

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """Read the keys of a file that `add_key` wrote.

        Raises:
            ConfigError: It is not there, or not such a file; it says what is wrong.
        """
        stamp = _stamp(path)  # of before it is read: what is written meanwhile is read once more
        try:
            listed = json.loads(path.read_text(encoding="utf-8"))["keys"]
            keys = [
                Key(
                    each["name"],
                    each["sha256"],
                    frozenset(map(Scope, each["scopes"])),
                    float(each.get("per_second", 0)),
                )
                for each in listed
            ]
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is not there; make a key: towers key file={path} name=app") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path} holds no keys ({error!r}); make one anew: towers key file=… name=app") from error
        return cls(keys, path, stamp)

    def find(self, secret: bytes) -> Key | None:
        """Return the key that a secret is, in the same time whichever it is."""
        if self._path is not None and clock() - self._looked >= _LOOK_S:
            self._look(self._path)
        digest, found = hashlib.sha256(secret).hexdigest(), None
        for key in self._keys:
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def _look(self, path: Path) -> None:
        self._looked = clock()
        if _stamp(path) == self._stamp:
            return
        try:
            fresh = Keys.read(path)
        except ConfigError as error:
            self._stamp = _UNREAD
            if str(error) != self._trouble:
                _log.error("the keys of before are good until it is mended: %s", error)
            self._trouble = str(error)
            return
        known = {key.digest: key for key in self._keys}
        # One that is as it was goes on counting its requests.
        self._keys = [known.get(key.digest, key) if _alike(known.get(key.digest), key) else key for key in fresh._keys]
        self._stamp, self._trouble = fresh._stamp, ""
        _log.info("read the keys anew: %s", ", ".join(key.name for key in self._keys) or "none")


def _stamp(path: Path) -> Stamp | None:
    """Return what changes when a file or its rights do; None where it is not there."""
    try:
        told = path.stat()
    except OSError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns, told.st_ctime_ns


def _alike(one: Key | None, other: Key) -> bool:
    return one is not None and (one.name, one.scopes, one.per_second) == (other.name, other.scopes, other.per_second)


@dataclass(kw_only=True)
class KeyConfig:
    """A key to make."""

    file: str
    """File of keys; made where it is not there."""
    name: str
    """What logs call it: who uses it."""
    scopes: list[str] = field(default_factory=lambda: ["read"])
    """What it may do: read, write, admin."""
    per_second: float = 0.0
    """How many requests it may make a second; 0 for any number."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        if wrong := [scope for scope in self.scopes if scope not in set(Scope)]:
            raise ConfigError(f"scopes has {wrong[0]!r}; choose from {', '.join(Scope)}")
        if self.per_second < 0 or 0 < self.per_second < 1:
            raise ConfigError(f"per_second is {self.per_second}; give 1 or more, or 0 for any number")
        if not self.name:
            raise ConfigError("name is empty; say who uses the key")


def add_key(config: KeyConfig) -> str:
    """Add a key to a file, in place of one of the same name; return it. It is kept nowhere: hand it on now.

    Raises:
        ConfigError: The file holds something else.
    """
    path = Path(config.file)
    kept, before = [], path.stat() if path.exists() else None
    if before is not None:
        Keys.read(path)  # so that nothing else is overwritten
        kept = json.loads(path.read_text(encoding="utf-8"))["keys"]
    secret = f"towers-{secrets.token_urlsafe(32)}"
    told: dict[str, object] = {
        "name": config.name,
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "scopes": list(config.scopes),
    }
    if config.per_second:
        told["per_second"] = config.per_second
    for old in (each for each in kept if each["name"] == config.name):
        _log.warning(
            "key %s is replaced; the one of before, which might %s, opens nothing any more, from a second on where "
            "services run; the new one may %s",
            config.name,
            ", ".join(old["scopes"]),
            ", ".join(config.scopes),
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"keys": [*(each for each in kept if each["name"] != config.name), told]})
    path.chmod(0o600 if before is None else stat.S_IMODE(before.st_mode))
    if before is not None and os.geteuid() == 0:
        os.chown(path, before.st_uid, before.st_gid)  # the service's, which must go on reading it
    return secret


def clock() -> float:
    """Return seconds that only rise."""
    return time.monotonic()
