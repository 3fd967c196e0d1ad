"""The OpenAPI document, made from the table of routes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from towers import __version__
from towers.serving.http.messages import Fault
from towers.serving.http.routes import Route

_WORDS = {
    400: "The request makes no sense; the answer says what and how",
    404: "Not known",
    408: "The body did not come in time",
    409: "Not possible with the versions that there are",
    413: "The body is too long",
    503: "Too much is asked at once, or the store cannot be reached; ask again after Retry-After",
}
_KEYED = {401: "No known key", 403: "The key may not do this", 429: "The key asks too often"}


def document(routes: Sequence[Route], *, keyed: bool = True) -> dict[str, Any]:
    """Return the document of all routes; without keys where none are asked for.

    Example:
        >>> document([])["openapi"]
        '3.1.0'
    """
    types = [kind for route in routes for kind in (route.body, route.reply) if kind is not None]
    schemas, parts = msgspec.json.schema_components([*types, Fault], ref_template="#/components/schemas/{name}")
    schema = dict(zip(map(id, types), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route if keyed else replace(route, scope=None), schema, schemas[-1]
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": "towers", "version": __version__, "description": "Candidates for a short-video app"},
        "paths": paths,
        "components": {
            "schemas": parts,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "towers key makes one"}},
        },
    }


def _operation(route: Route, schema: dict[int, Any], fault: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "Done"}}
    if route.reply is not None:
        answers["200"]["content"] = _json(schema[id(route.reply)])
    elif route.method == "DELETE":
        answers = {"204": {"description": "Done"}}
    words = {status: _WORDS[status] for status in route.faults} | (_KEYED if route.scope else {})
    answers |= {str(status): {"description": said, "content": _json(fault)} for status, said in words.items()}
    told: dict[str, Any] = {"summary": route.summary, "operationId": _name(route), "responses": answers}
    if route.body is not None:
        told["requestBody"] = {"required": True, "content": _json(schema[id(route.body)])}
    if parameters := [*map(_place, route.places), *(_number(name, most) for name, most in route.numbers.items())]:
        told["parameters"] = parameters
    if route.scope:
        told["security"] = [{"key": [route.scope.value]}]
    return told


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _place(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 256}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _number(name: str, most: int) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": most}}


def _name(route: Route) -> str:
    parts = route.path.strip("/").replace("{", "").replace("}", "").replace(".", "/").split("/")
    return "_".join([route.method.lower(), *parts])
