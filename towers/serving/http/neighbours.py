"""Who is let in without a key: programs of this machine, and the service's own page; no other page in its browser."""

import ipaddress
from urllib.parse import urlsplit

from towers.serving.http.routes import RefusedError

_OWN = {b"", b"none", b"same-origin"}
"""What browsers say of requests that no other site made."""


def check_neighbour(headers: dict[bytes, bytes]) -> None:
    """Check that a request without a key was made by this machine's user, not by a site that their browser shows.

    Any site can have its visitors' browsers post to loopback, and by a name of its own that leads there even read the
    answer. The first says where it is from, the second asks for that name.

    Raises:
        RefusedError: It was made by another site, or asks for a name that others can give.
    """
    asked = headers.get(b"host", b"").lower()
    if asked and not is_loopback(_name_in(asked)):
        raise RefusedError(
            403,
            f"asked as {_name_in(asked)[:60]!r}; without keys only this machine is served, as 127.0.0.1 or localhost; "
            "make one with towers key file=keys.json name=app, and give keys=keys.json",
        )
    origin = headers.get(b"origin", b"").lower()
    if headers.get(b"sec-fetch-site", b"") not in _OWN or (origin and origin.partition(b"://")[2] != asked):
        raise RefusedError(403, "asked by a page of another site, which needs a key; give keys=FILE to towers serve")


def is_loopback(name: str) -> bool:
    """Return whether a host's name or address is of this machine alone.

    Example:
        >>> [is_loopback(name) for name in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "", "127.0.0.1.evil.com")]
        [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _name_in(host: bytes) -> str:
    """Return what stands before the port; all of it where it is no host."""
    text = host.decode("latin-1")
    try:
        return (urlsplit(f"//{text}").hostname or text).rstrip(".")
    except ValueError:
        return text
