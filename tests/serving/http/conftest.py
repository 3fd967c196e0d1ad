"""A real server in a thread of the test's process, asked over real sockets."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from towers.serving import Client
from towers.serving.http.app import App
from towers.serving.http.server import ServeConfig, how_to_serve, make_app
from towers.serving.store import SqliteState

Start = Callable[..., Client]


class Server(uvicorn.Server):
    """Says when it has started, so that nobody has to look again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:  # noqa: ANN401
        """Start, and say so."""
        await super().startup(sockets)
        self.ready.set()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def running(app: App) -> Iterator[str]:
    """Serve an app while the context lasts; give its address."""
    server = Server(how_to_serve(app, "127.0.0.1", 0, 30))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.ready.wait(60)
        assert app.failed is None, app.failed
        yield server.url
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a service on a bundle with options of ServeConfig; give a client that does not try again."""
    with ExitStack() as stack:

        def started(bundle: Path, key: str | None = None, **options: Any) -> Client:  # noqa: ANN401
            options.setdefault("store", SqliteState(path=str(tmp_path / "state.db")))
            options.setdefault("state", str(tmp_path / "state"))
            app = make_app(ServeConfig(bundle=str(bundle), **options))
            return stack.enter_context(Client(stack.enter_context(running(app)), key=key, timeout_s=30.0, tries=0))

        yield started
