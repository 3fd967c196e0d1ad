"""Which request does what, who may make it, and what it is told: the table from which the app and its document come."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes

import msgspec

from towers.serving.http.keys import Scope
from towers.serving.service import Service
from towers.types import DataError


class RefusedError(Exception):
    """A request that is not even looked at; says HTTP's status."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        service: What answers.
        request_id: What the log and the answer call it.
        body: As it was decoded; None where there is none.
        parts: What stands in the path's places.
        query: What follows the path.
    """

    service: Service
    request_id: str
    body: Any = None
    parts: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def whole_number(self, name: str, default: int, most: int) -> int:
        """Return a number of the query, 1 to most.

        Raises:
            DataError: It is none.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= most and len(text) < 9):
            raise DataError(f"{name} is {text!r}; give a whole number, 1 to {most}")
        return int(text)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered.

    Attributes:
        body: A message, or bytes of another kind.
        status: HTTP's.
        kind: Of the bytes.
    """

    body: Any
    status: int = 200
    kind: bytes = b"application/json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Route:
    """One kind of request.

    Attributes:
        method: HTTP's.
        path: With places in braces.
        scope: What a key must be allowed; None where anybody may ask.
        handle: Answers.
        summary: What it does, in one line.
        body: Type of the body; None where there is none.
        reply: Type of the answer; None where it is no JSON.
        faults: What it answers where it refuses.
        numbers: Whole numbers of the query: the highest, by name.
    """

    method: str
    path: str
    scope: Scope | None
    handle: Callable[[Call], Awaitable[Reply]]
    summary: str
    body: Any = None
    reply: type[msgspec.Struct] | None = None
    faults: tuple[int, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def places(self) -> list[str]:
        """Names of the path's places."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


class Table:
    """Finds the route of a request.

    Args:
        routes: All.
    """

    def __init__(self, routes: list[Route]) -> None:
        self._fixed = {(route.path, route.method): route for route in routes if not route.places}
        self._open = [(route.path.split("/"), route) for route in routes if route.places]
        self._paths = {route.path for route in routes if not route.places}

    def find(self, method: str, path: str, raw_path: bytes) -> tuple[Route | None, dict[str, str], bool]:
        """Return the route, what stands in its places, and whether the path is one of another method.

        Args:
            method: HTTP's.
            path: As it is meant.
            raw_path: As it was sent: there a slash of an id, %2F, is none of the path's. So are the places.
        """
        route = self._fixed.get((path, method))
        if route is not None:
            return route, {}, True
        parts, there = raw_path.decode("latin-1").split("/"), path in self._paths
        for wanted, route in self._open:
            if len(wanted) == len(parts) and all(
                w == p or w.startswith("{") for w, p in zip(wanted, parts, strict=True)
            ):
                there = True
                if route.method == method:
                    places = {w[1:-1]: p for w, p in zip(wanted, parts, strict=True) if w.startswith("{")}
                    return route, places, True
        return None, {}, there


def unquoted(places: Mapping[str, str]) -> dict[str, str]:
    """Return what stands in a path's places, as it is meant.

    Raises:
        DataError: It is not UTF-8.

    Example:
        >>> unquoted({"id": "a%2Fb"})
        {'id': 'a/b'}
    """
    try:
        return {name: unquote_to_bytes(text.encode("latin-1")).decode() for name, text in places.items()}
    except UnicodeDecodeError as error:
        raise DataError(f"the path cannot be read: {error}") from error


def query_of(text: bytes) -> dict[str, str]:
    """Return what follows a path, the last where a name comes twice.

    Raises:
        DataError: It is not UTF-8.
    """
    try:
        return {name: values[-1] for name, values in parse_qs(text.decode(), keep_blank_values=True).items()}
    except (UnicodeDecodeError, ValueError) as error:
        raise DataError(f"the query cannot be read: {error}") from error
