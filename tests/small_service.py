"""Asks a real service of a bundle for candidates, with what is installed beside it: python small_service.py BUNDLE."""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from towers import Retriever
from towers.serving import Client
from towers.serving.client import AnswerError

_PATIENCE_S = 600


def main(bundle: str) -> None:
    """Start it, ask, compare with what a retriever answers, and stop it.

    Raises:
        SystemExit: It answered otherwise, or did not end well.
    """
    retriever = Retriever.open(bundle)
    user = retriever.bundle.users.known[0]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        options = [f"bundle={bundle}", f"port={port}", f"state={folder}/state", f"store.path={folder}/state.db"]
        command = [str(Path(sys.executable).with_name("towers")), "serve", *options]
        with subprocess.Popen(command) as service, Client(f"http://127.0.0.1:{port}", timeout_s=60, tries=0) as client:
            until = time.monotonic() + _PATIENCE_S
            while not ready(client) and service.poll() is None and time.monotonic() < until:
                time.sleep(0.1)  # a first start makes machine code
            found = client.candidates(str(user) if isinstance(user, str) else int(user), k=5)["video_ids"]
            service.terminate()
    expected = list(retriever.candidates(user, k=5).ids)
    sys.stdout.write(f"user {user}: {found}\n")
    if found != expected or service.returncode:
        sys.exit(f"expected {expected}; the service ended with {service.returncode}")


def ready(client: Client) -> bool:
    """Return whether the service answers by now."""
    try:
        client.ready()
    except AnswerError:
        return False
    return True


if __name__ == "__main__":
    main(*sys.argv[1:])
