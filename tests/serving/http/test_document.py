"""What is answered is what the OpenAPI document says, to requests that it allows and to others; asked by Schemathesis.

Which are drawn is the same each time, see tests/conftest.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.serving.http.conftest import running
from towers.serving.http.document import document
from towers.serving.http.server import ServeConfig, make_app
from towers.serving.store import MemoryState

# The service runs in a thread beside the draws, and what it draws itself is none of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 25
"""Of each operation and mode."""


@pytest.fixture(scope="module")
def url(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    state = str(tmp_path_factory.mktemp("asked") / "state")
    config = ServeConfig(bundle=str(tiny_bundle), state=state, store=MemoryState(), deadline_ms=60_000.0)
    with running(make_app(config)) as address:
        yield address


def test_the_document_is_the_one_that_is_served_and_all_of_it_is_asked(url: str) -> None:
    app = make_app(ServeConfig(bundle="nowhere", state="nowhere", store=MemoryState()))
    assert httpx.get(f"{url}/openapi.json").json() == document(app.routes, keyed=False)
    assert set(OPERATIONS) == {f"{route.method} {route.path}" for route in app.routes}


def operations() -> dict[str, APIOperation[Any, Any, Any, Any]]:
    """Return all that can be asked, by method and path."""
    app = make_app(ServeConfig(bundle="nowhere", state="nowhere", store=MemoryState()))
    told = schemathesis.openapi.from_dict(document(app.routes, keyed=False)).get_all_operations()
    return {each.ok().label: each.ok() for each in told if isinstance(each, Ok)}


OPERATIONS = operations()


@pytest.mark.parametrize(
    ("label", "mode"),
    [
        pytest.param(label, mode, id=f"{label} {mode.value}")
        for label, operation in OPERATIONS.items()
        for mode in GenerationMode
        if mode is GenerationMode.POSITIVE or operation.body or operation.path_parameters or operation.query
    ],
)
def test_every_answer_is_as_the_document_says(url: str, label: str, mode: GenerationMode) -> None:
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(base_url=url, checks=CHECKS, timeout=60)

    ask()
