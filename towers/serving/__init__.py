"""A bundle → candidates: ids in, ids out; and the same over HTTP."""

from typing import TYPE_CHECKING, Any

from towers.lazy import worded
from towers.serving.asking import Ask, Unknown
from towers.serving.candidates import Candidates, Way
from towers.serving.retriever import Retriever

if TYPE_CHECKING:
    from towers.serving.client import AsyncClient, Client

__all__ = ["Ask", "AsyncClient", "Candidates", "Client", "Retriever", "Unknown", "Way"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load the clients when they are asked for: they need the extra `serve`."""
    if name in {"Client", "AsyncClient"}:
        try:
            from towers.serving import client
        except ModuleNotFoundError as error:
            raise worded(f"towers.serving.{name}", error) from error
        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
