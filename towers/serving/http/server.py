"""The process that serves: its options, its log, its server, and how it stops."""

import asyncio
import gc
import json
import logging
import resource
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import uvicorn

from towers.kinds import check_folders, check_kinds
from towers.serving.http.app import App, Door
from towers.serving.http.connection import Connection
from towers.serving.http.keys import Keys
from towers.serving.http.neighbours import is_loopback
from towers.serving.service import Limits, Service
from towers.serving.store import State
from towers.types import ConfigError, RunError

_OWN_FILES = 256
"""How many files the service may open itself, roughly: the bundle's, the index's, the store's."""


@dataclass(kw_only=True)
class ServeConfig:
    """What to serve, where, and from which state."""

    bundle: str
    """Folder that `towers publish` wrote."""
    store: State
    """What keeps events, histories and changes: sqlite, redis for several machines, memory to try things out."""
    state: str = "runs/serve"
    """Folder for this process's indexes; best on the disk of the bundle, whose files are linked there."""
    host: str = "127.0.0.1"
    """Address to listen at; others than loopback need keys."""
    port: int = 8000
    """Port to listen at."""
    keys: str | None = None
    """File of keys that `towers key` wrote; read again when it changes. Without it any program of this machine
    may ask for anything, and no page but the service's own."""
    queue: int = 512
    """How many requests may wait; who comes then gets 503."""
    deadline_ms: float = 200.0
    """Who has waited for longer gets 503."""
    remember: float = 0.1
    """Share of answers that are kept in the store, to be joined with what comes back."""
    keep_days: float = 30.0
    """How long the store keeps events and answers, from when they came; 0 for ever. Histories stay."""
    body_mb: float = 4.0
    """The longest body."""
    client_s: float = 10.0
    """How long a client may take to send a request's head, to send its body, and to take the answer."""
    connections: int = 4096
    """How many connections may be open; with more, the one that has said nothing for longest is closed."""
    stop_s: int = 30
    """How long a stop waits for requests that were accepted."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self)
        check_folders(self, "bundle", "state")
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"port is {self.port}; give one of 1 to 65535, or 0 for a free one")
        if self.keys is None and not is_loopback(self.host):
            raise ConfigError(
                f"host is {self.host}, which others can reach, and there are no keys; make one with "
                "towers key file=keys.json name=app, and give keys=keys.json"
            )
        if self.body_mb <= 0:
            raise ConfigError(f"body_mb is {self.body_mb}; give a size above 0")
        if self.client_s <= 0 or self.connections < 1:
            raise ConfigError(
                f"client_s={self.client_s} and connections={self.connections} let nobody in; "
                "give above 0, and 1 or more"
            )


def make_app(config: ServeConfig) -> App:
    """Return the ASGI app of a configuration, for a server of one's own.

    Without keys it answers requests to this machine's own names alone, such as localhost: give keys where others ask.

    Raises:
        ConfigError: An option that makes no sense, or a file of keys that is none.
    """
    state = Path(config.state)
    limits = Limits(
        queue=config.queue, deadline_ms=config.deadline_ms, remember=config.remember, keep_days=config.keep_days
    )
    service = Service(Path(config.bundle).absolute(), config.store.make(), state, limits)
    keys = Keys.read(Path(config.keys)) if config.keys else None
    body_bytes = int(config.body_mb * 2**20)
    return App(
        service, Door(keys=keys, body_bytes=body_bytes, client_s=config.client_s, connections=config.connections)
    )


def serve(config: ServeConfig) -> None:
    """Serve until SIGTERM or SIGINT; then accept nothing more, answer what was accepted, and end.

    Raises:
        ConfigError: An option that makes no sense.
        TowersError: The bundle or the store cannot be opened, or the address is taken.
    """
    gc.disable()  # until all is open, see App: what is made until then stays
    try:
        app = make_app(config)
        _allow_files(config.connections)
        log_as_json()
        # By default a thread that writes to the store may keep the one that answers waiting for 5 ms.
        sys.setswitchinterval(0.0005)
        server = uvicorn.Server(how_to_serve(app, config.host, config.port, config.stop_s))
        for stop in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stop, lambda *_: None)  # which the server raises again once it has stopped, as it was told to
        try:
            server.run()
        except SystemExit as stop:  # uvicorn's, of a start that failed; a service's own words are told below
            if app.failed is None:
                raise RunError(
                    f"{config.host}:{config.port} cannot be listened at, as said above; give a host= of this "
                    "machine and a port= that is free and may be used, or stop who has it"
                ) from stop
    finally:
        gc.enable()
    if app.failed is not None:
        raise app.failed


def how_to_serve(app: App, host: str, port: int, stop_s: int) -> uvicorn.Config:
    """Return how uvicorn serves an app."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=cast("type[asyncio.Protocol]", partial(Connection, app.door)),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=stop_s,
    )


def _allow_files(connections: int) -> None:
    """Let this process open as many files as it may have connections, and its own."""
    wanted, (soft, most) = connections + _OWN_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"connections is {connections}, for which this process must open {wanted} files and may open {most}; "
            f"allow it more (ulimit -Hn {wanted}), or give connections={max(1, most - _OWN_FILES)}"
        ) from error


class _Line(logging.Formatter):
    """A line of JSON for each message; of requests their ids, never who asked or what for."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "from": record.name}
        line["message"] = record.getMessage()
        line |= {name: vars(record)[name] for name in ("request_id", "route") if name in vars(record)}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_as_json() -> None:
    """Write the log to standard error, a line of JSON for each message."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Line())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
