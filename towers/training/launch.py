"""Starts the processes that share a training on one machine, and ends them all when one of them ends badly."""

import faulthandler
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from torch import distributed

from towers.training.config import TrainConfig
from towers.training.ranks import LostError
from towers.types import RunError, TowersError

HOST = "127.0.0.1"
GRACE = 10.0
"""Seconds that the others have to say what happened when one has lost its connection to them."""
BOOT = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from towers.training.launch import work; work()"
"""What a process runs. The user's script is not run again, so it needs no guard and notebooks will do."""
WHY = {"SIGKILL": " (systems do that where memory runs out)"} | dict.fromkeys(
    ("SIGSEGV", "SIGBUS", "SIGABRT", "SIGFPE", "SIGILL"), " (a fault in machine code; where it was stands above)"
)
Team = dict[Connection, tuple[int, subprocess.Popen[bytes]]]


def launch(config: TrainConfig) -> None:
    """Train in `config.trainer.devices` processes; return when all have ended well.

    Raises:
        TowersError: What one of them raised.
        RunError: One was killed, or ended with an error that is told above.
    """
    # The store is here, where the processes meet: the system chooses its port, and nobody can take it meanwhile.
    store = distributed.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)  # type: ignore[attr-defined]
    with _team(config, store.port) as team:
        _watch(dict(team))


@contextmanager
def _team(config: TrainConfig, port: int) -> Iterator[Team]:
    """Yield the processes, each with the link to it; none of them outlives the block."""
    team: Team = {}
    try:
        for rank in range(config.trainer.devices):
            link, theirs = Pipe()
            command = [sys.executable, "-c", BOOT, json.dumps(sys.path), str(theirs.fileno())]
            # A group of their own, so that Ctrl-C is this process's to answer.
            process = subprocess.Popen(  # noqa: S603 - this very interpreter
                command,
                env=os.environ | _environment(config, rank, port),
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
            team[link] = (rank, process)
            theirs.close()
            link.send((config, logging.getLogger("towers").getEffectiveLevel()))
        yield team
    finally:
        for link, (_, process) in team.items():
            process.kill()
            process.wait()
            link.close()


def _environment(config: TrainConfig, rank: int, port: int) -> dict[str, str]:
    """Return what torchrun would say to a process of that rank."""
    count = config.trainer.devices
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    told = {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    where = {"MASTER_ADDR": HOST, "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": loopback}
    # Everybody is a guest at the store; otherwise rank 0 would open a second one.
    return {name: str(value) for name, value in told.items()} | where | {"TORCHELASTIC_USE_AGENT_STORE": "True"}


def _watch(running: Team) -> None:
    """Return when all have ended well; raise what the first that did not had to say."""
    lost: TowersError | None = None
    while running:
        ready = wait(list(running), timeout=GRACE if lost else None)
        if not ready:
            break
        for link in (each for each in ready if isinstance(each, Connection)):
            try:
                error: TowersError = link.recv()
            except (EOFError, ConnectionResetError):
                _check(*running.pop(link))
                continue
            if not isinstance(error, LostError):
                raise error
            lost = error
    if lost:
        raise lost


def _check(rank: int, process: subprocess.Popen[bytes]) -> None:
    status = process.wait()
    if status < 0:
        name = signal.Signals(-status).name
        raise RunError(
            f"process {rank} of this training was killed by {name}{WHY.get(name, '')}, and the others were ended; the "
            "same command goes on after the last whole epoch"
        )
    if status > 0:
        raise RunError(f"process {rank} of this training ended with status {status}; what it said stands above")


def work() -> None:
    """Be one of the processes: train with the options that come over the link, and answer with what went wrong."""
    faulthandler.enable()
    link = Connection(int(sys.argv[2]))
    config, level = link.recv()
    first = os.environ["RANK"] == "0"
    logging.basicConfig(stream=sys.stderr, format="%(message)s", level=logging.WARNING)
    logging.getLogger("towers").setLevel(level if first else logging.ERROR)
    threading.Thread(target=_end_with, args=[link], daemon=True).start()
    from towers.training.training import train  # which imports this module

    try:
        train(config)
    except TowersError as error:
        link.send(error)


def _end_with(link: Connection) -> Any:  # noqa: ANN401 - it never returns
    """End this process when the one that started it is gone."""
    try:
        link.recv()
    except (EOFError, OSError):
        os._exit(1)
