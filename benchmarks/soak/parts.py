"""What is started, killed and started again: the service, Redis; and how a bundle gets another version."""

import asyncio
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.record import CHECKOUT
from benchmarks.soak.asking import Connection
from towers.data import write_json
from towers.publishing import checksums, current_name, point_to
from towers.publishing.versions import VERSIONS, next_name, prune, publishing

START_S, TRIES = 300.0, 5
"""How long a start may take, and how often it is tried where it ends."""


class Service:
    """`towers serve`, on a core of its own where there are two.

    Args:
        options: Of `towers serve`, but for the port.
        log: What it says goes there.
        key: To ask whether it is ready.

    Attributes:
        port: Where it listens, also after a restart.
        lives: How often it was started.
        up: Whether it answers, as far as is known.
        memory: (life, seconds since its start, resident MB).
    """

    def __init__(self, options: list[str], log: Path, key: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        serve = [sys.executable, "-c", "from towers.cli import main; raise SystemExit(main())", "serve"]
        pinned = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
        self._command, self._log, self._key = [*pinned, *serve, *options, f"port={self.port}"], log, key
        self.lives, self.up = 0, False
        self.memory: list[tuple[int, float, float]] = []

    async def start(self) -> float:
        """Start it, and again where it ends at once, since its store was away; return the seconds until it was ready.

        Raises:
            RuntimeError: It ends again and again, or is not ready for minutes.
        """
        self.lives, self._began = self.lives + 1, time.perf_counter()
        connection = Connection(self.port, self._key)
        for _ in range(TRIES):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(self._command, cwd=CHECKOUT, stdout=log, stderr=log)
            while self.process.poll() is None and time.perf_counter() - self._began < START_S:
                try:
                    self.up = (await connection.ask("GET", "/readyz"))[0] == 200
                except OSError:
                    await asyncio.sleep(0.05)
                if self.up:
                    connection.close()
                    return time.perf_counter() - self._began
            self.process.kill()
            await asyncio.sleep(1)
        raise RuntimeError(f"the service is not ready after {time.perf_counter() - self._began:.0f} s; see {self._log}")

    def look(self) -> None:
        """Note its memory, while it is up.

        Raises:
            RuntimeError: It ended by itself.
        """
        if not self.up:
            return
        if self.process.poll() is not None:
            raise RuntimeError(f"the service ended by itself with {self.process.returncode}; see {self._log}")
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        if found := re.search(r"VmRSS:\s+(\d+)", status):
            self.memory.append((self.lives, time.perf_counter() - self._began, int(found[1]) / 1024))

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        self.up = False
        self.process.kill()
        self.process.wait()

    async def stop(self) -> int:
        """Stop it as SIGTERM does; return its exit status."""
        self.up = False
        self.process.terminate()
        return await asyncio.to_thread(self.process.wait, 60)

    def end(self) -> None:
        """Kill it if it runs."""
        if self.lives and self.process.poll() is None:
            self.kill()

    def slope(self) -> float:
        """Return by how many MB an hour memory grew in the last two thirds of the last life."""
        own = np.array([(seconds, mb) for life, seconds, mb in self.memory if life == self.lives])
        late = own[own[:, 0] > own[-1, 0] / 3]
        return float(np.polyfit(late[:, 0], late[:, 1], 1)[0] * 3600)


class Redis:
    """A server that appends what it is told to a file, in a folder.

    Attributes:
        url: Of it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.url = f"unix://{folder}/redis.sock"
        listen = ["--port", "0", "--unixsocket", f"{folder}/redis.sock", "--dir", str(folder), "--save", ""]
        self._command = ["redis-server", *listen, "--appendonly", "yes", "--logfile", f"{folder}/log"]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, on the data that are there, and wait until it has read them."""
        self.process = subprocess.Popen(self._command)
        ping = ["redis-cli", "-s", self.url.removeprefix("unix://"), "ping"]
        while subprocess.run(ping, capture_output=True, check=False).stdout != b"PONG\n":
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it as `kill -9` does, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def republish(root: Path) -> str:
    """Publish the current version of a bundle once more, as one of its own; return its name.

    Files are linked, not copied: no version is ever changed in place.
    """
    with publishing(root):
        name = next_name(root, secrets.token_hex(4))
        partial = root / VERSIONS / f"{name}.partial-soak"
        shutil.copytree(root / VERSIONS / current_name(root), partial, copy_function=os.link)
        told = partial / checksums.MANIFEST, partial / checksums.SEAL
        manifest = json.loads(told[0].read_text(encoding="utf-8"))
        manifest |= {"version": name, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
        for path in told:
            path.unlink()
        write_json(told[0], manifest)
        told[1].write_text(f"{checksums.digest(told[0])}\n", encoding="utf-8")
        partial.rename(root / VERSIONS / name)
        point_to(root, name)
        prune(root, keep=3)
    return name
