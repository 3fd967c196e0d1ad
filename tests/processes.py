"""Real processes that tests start, wait for and end: `towers serve`, Prometheus, nginx."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

CHECKOUT = Path(__file__).parent.parent
DEPLOY = CHECKOUT / "deploy"
T = TypeVar("T")


def until(look: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """Look again and again until there is something to see."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {seconds} s")


def fetch(url: str) -> tuple[int, str]:
    """Return what a GET gives, status and text; status 0 where nobody listens.

    What is polled costs little: httpx.get reads all certificates of the machine each time.
    """
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, HTTPException):
        return 0, ""
    finally:
        connection.close()


class Process:
    """A process and the file that it writes to."""

    def __init__(self, words: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                words, stdout=file, stderr=file, env=os.environ | dict(environment or {}), cwd=log.parent
            )

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def wait_for(self, url: str, status: int = 200) -> None:
        """Wait until it answers."""

        def look() -> bool | None:
            assert self._process.poll() is None, self.log.read_text()
            return fetch(url)[0] == status or None

        until(look, f"{url} answers {status}", 600)

    def stop(self) -> int:
        """Ask it to stop, wait until it has, and return its exit status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(60)
        finally:
            self._process.kill()


def serve(bundle: Path, folder: Path, port: int, *options: str) -> Process:
    """Start `towers serve` with its state and its log in a folder; wait for it with `wait_for`."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [f"bundle={bundle}", f"state={folder / 'state'}", f"port={port}", *options]
    main = "import sys; from towers.cli import main; sys.exit(main())"
    paths = os.pathsep.join([str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Process([sys.executable, "-c", main, "serve", *words], folder / "log", {"PYTHONPATH": paths})


@contextmanager
def ended(process: Process) -> Iterator[Process]:
    """End a process at last."""
    try:
        yield process
    finally:
        process.stop()


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
