"""Trains in one process, then on two hosts, and says how far apart the towers are.

    python -m benchmarks.two_hosts --dataset runs/demo/dataset    # as root, on Linux

The hosts are two network namespaces of this machine with a cable between them: each has an address, a loopback and
a torchrun of its own, and what one wants of the other goes over the cable. Both see the run folder, as they must.
Nothing is dropped out, since every process would draw that for itself; the batches are the same everywhere.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.record import Circumstances, record
from towers.models import open_run

HOSTS = ("towers-one", "towers-two")
NO_DROPOUT = [
    f"model.{name}=0"
    for name in ("id_dropout", "dropout", "user_dropout", "context_dropout", "time_dropout", "history_dropout")
]
OPTIONS = ["optim.epochs=2", "refit_epochs=1", "model.dim=16", "threads=1", "accelerator=cpu", "precision=float32"]
TRAIN = ["-c", "import sys; from towers.cli import main; sys.exit(main())", "train", *OPTIONS, *NO_DROPOUT]
FIGURE = "recall@100"
FAR = 1e-3
"""What rounding may come to in a figure or a weight after some hundred steps."""


@contextmanager
def two_hosts() -> Iterator[None]:
    """Let there be two hosts with a cable between them within the block; needs root."""
    try:
        for host in HOSTS:
            _ip("netns", "add", host)
        _ip("link", "add", "cable0", "netns", HOSTS[0], "type", "veth", "peer", "name", "cable1", "netns", HOSTS[1])
        for number, host in enumerate(HOSTS):
            _ip("-n", host, "address", "add", f"10.77.0.{number + 1}/24", "dev", f"cable{number}")
            for device in ("lo", f"cable{number}"):
                _ip("-n", host, "link", "set", device, "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "delete", host], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def on_host(number: int, options: list[str]) -> list[str]:
    """Return the command that trains on a host together with the other."""
    place = ["ip", "netns", "exec", HOSTS[number], "env", f"GLOO_SOCKET_IFNAME=cable{number}"]
    meeting = [f"--node-rank={number}", "--nproc-per-node=1", "--master-addr=10.77.0.1", "--master-port=29500"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", *meeting, "--no-python"]
    return [*place, *torchrun, sys.executable, *TRAIN, *options]


def train_together(commands: list[list[str]]) -> float:
    """Run commands at once; return the seconds until all have ended.

    Raises:
        RuntimeError: One did not end well; with the end of what it said.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / str(number) for number in range(len(commands))]
        running = []
        for command, path in zip(commands, said, strict=True):
            with path.open("w") as file:
                running.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        for process, path in zip(running, said, strict=True):
            if process.wait():
                raise RuntimeError(
                    f"host {path.name} ended with status {process.returncode}:\n{path.read_text()[-2000:]}"
                )
    return time.perf_counter() - began


def compared(run: Path, alone: Path) -> dict[str, object]:
    """Return the best valid figure of a run, and how far it and all weights are at most from those of another.

    Raises:
        ValueError: They are farther apart than rounding explains.
    """
    mine, other = _figures(run), _figures(alone)
    weights, others = (dict(open_run(folder).towers.named_parameters()) for folder in (run, alone))
    figures_apart = max(abs(one - two) for one, two in zip(mine, other, strict=True))
    weights_apart = max(float((weights[name] - others[name]).detach().abs().max()) for name in others)
    if max(figures_apart, weights_apart) > FAR:
        raise ValueError(f"{run}: a figure is {figures_apart:.2g}, a weight {weights_apart:.2g} away; expected ≤ {FAR}")
    best = f"{max(mine):.6f}"
    return {FIGURE: best, "figures_apart": f"{figures_apart:.1e}", "weights_apart": f"{weights_apart:.1e}"}


def _figures(run: Path) -> list[float]:
    """Return recall@100 on valid after each epoch that was measured."""
    with (run / "history.csv").open(newline="") as file:
        return [float(row[FIGURE]) for row in csv.DictReader(file) if row[FIGURE]]


def main() -> None:
    """Train, compare and record a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder that towers prepare wrote")
    dataset = Path(parser.parse_args().dataset).resolve()
    with tempfile.TemporaryDirectory() as work, two_hosts():
        alone = Path(work) / "alone"
        ways = {"one process": [[sys.executable, *TRAIN, f"dataset={dataset}", f"run={alone}"]]}
        runs = {"one process": alone}
        for strategy in ("ddp", "rows"):
            runs[f"two hosts, {strategy}"] = run = Path(work) / strategy
            options = [f"dataset={dataset}", f"run={run}", f"trainer.strategy={strategy}"]
            ways[f"two hosts, {strategy}"] = [on_host(number, options) for number in range(2)]
        for way, commands in ways.items():
            seconds = train_together(commands)
            row = {"way": way, **compared(runs[way], alone)}
            cost = open_run(runs[way]).info["cost"]
            how = Circumstances(
                command="python -m benchmarks.two_hosts", seed=0, seconds=seconds, peak_mb=cost["peak_mb"]
            )
            record("two_hosts", [row], how)
            print(row)


if __name__ == "__main__":
    main()
