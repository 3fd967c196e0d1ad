"""Measures how fast the towers train: every encoder, beside a bare loop of the same towers and the machine's ceiling.

    python -m benchmarks.training kuairand --dataset runs/demo/dataset
    python -m benchmarks.training large
    python -m benchmarks.training kuairand --to-best --dataset runs/demo/dataset

Each row is one encoder at one width. The package's own training (Lightning, journal, checkpoints) and a bare loop
take turns, A B A B, in one process; `positions_per_s` is the median of the package's turns, `overhead` how much
longer they took than the loop's. Work is counted by torch's own counter of products; `share_of_ceiling` is the rate
of all of it over that of one large product in the same precision, measured between the turns. `share_of_bandwidth`
is the same of the bytes that forward and backward read and write, each operation as if nothing stayed in a cache, over
the rate of copying a block larger than the caches: above 1 means that caches did serve.
`large` makes 2 million videos and 50 million events; `videos-20k`, `videos-200k` and `videos-2m` ten million events of
as many videos, to see how a step grows with the catalogue. Each row has a process of its own;
`peak_mb` is its largest memory after a first turn of the package, the log included, before the loop adds an optimiser
of its own.
With `--device cuda` all rows come from one process and `peak_mb` is the most that tensors took of the card's memory in
that turn; the loop has its batches put together ahead, as the package has.

With `--to-best` each encoder is trained by a recipe (`TO_BEST`), with vectors of 64 unless `--dims` says otherwise and
no refit, until valid stands still, and the row says how long it took to get to valid's best epoch: `seconds_to_best`
are from the start of `towers train` until that epoch is measured, with imports, the layout of the videos and all
validation so far; `seconds` are to the end.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceilings import ByteCounter, copy_rate, now, product_rate
from benchmarks.quality import TOWERS, Cost, spend
from benchmarks.record import Circumstances, record, usable_threads
from benchmarks.worlds import MADE, World
from towers.features import Batch, BatchSource, Catalogue, Mixed, Uniform
from towers.losses import CandidateSet, Softmax, candidate_loss
from towers.models import HISTORIES, ModelConfig, TwoTower
from towers.training.adam import RowAdamW, shorten
from towers.training.ahead import ahead
from towers.training.config import Accelerator, OptimConfig, Products, TrainConfig
from towers.training.module import TowersModule
from towers.training.precision import products_of
from towers.training.stage import Stage
from towers.types import peak_mb

TURNS, STEPS = 3, 20
TO_BEST = {
    "kuairand": ["experiment=kuairand"],
    "ml-1m": ["experiment=ml-1m-fast", "optim.epochs=12", "optim.patience=2"],
}
"""What trainings until valid stands still have in common; on films the fast recipe, for as long as it takes."""
LARGE = {"cpu": (2048, 256), "cuda": (8192, 4096)}
"""Side of a product, and megabytes of a copy, that show what a device can do."""
SETTINGS = {
    "kuairand": (50, 1024, Mixed(count=512)),
    "kuairand-fast": (50, 4096, Uniform(count=512)),
    "ml-1m": (200, 8192, Catalogue()),
    "ml-1m-fast": (200, 8192, Uniform(count=512)),
    "large": (50, 4096, Mixed(count=512)),
    "videos-20k": (50, 4096, Uniform(count=512)),
    "videos-200k": (50, 4096, Uniform(count=512)),
    "videos-2m": (50, 4096, Uniform(count=512)),
    "ml-1m-wide": (200, 65_536, Catalogue()),
    "kuairand-wide": (50, 65_536, Mixed(count=4096)),
}
"""Window, positions of a step, sampler: as recipes have them or had, as fast as they go, as wide as a GPU likes."""


@dataclass(frozen=True)
class Some(BatchSource):
    """The first batches of every epoch."""

    limit: int = field(default=20, kw_only=True)

    def epoch(self, seed: int, number: int) -> Iterator[Batch]:
        """Yield them."""
        for _, batch in zip(range(self.limit), super().epoch(seed, number), strict=False):
            yield batch

    def length(self, seed: int, number: int) -> int:
        """Return how many there are."""
        return min(self.limit, super().length(seed, number))


@dataclass(frozen=True)
class Asked:
    """What may be asked for beside an encoder and a width."""

    steps: int = STEPS
    precision: Products = Products.auto
    device: str = "cpu"

    def options(self) -> list[str]:
        """Return the options that say it, without those left out."""
        given = {name: value for name, value in vars(self).items() if value != getattr(Asked(), name)}
        return [word for name, value in given.items() for word in (f"--{name}", str(getattr(value, "name", value)))]


def takes_bfloat16(config: TrainConfig) -> bool:
    """Return whether training takes its products in bfloat16 here."""
    return products_of(config) is Products.bfloat16


def loss_of(towers: TwoTower, batch: Batch, low: bool) -> torch.Tensor:
    """Return the loss of a batch, its products in bfloat16 if asked."""
    with torch.autocast(batch.rows.device.type, torch.bfloat16, enabled=low):
        queries, vectors = towers(batch)
        candidates = CandidateSet(vectors, batch.log_q, batch.known, sizes=batch.sizes)
        return candidate_loss(Softmax(), queries, batch.target, batch.weight, candidates, towers.scale)


def bare(module: TowersModule, source: Some, low: bool) -> float:
    """Return the positions a second of a loop with nothing around it, where the towers are."""
    towers, positions, device = module.towers, 0, module.towers.start.device
    optimizer = RowAdamW(towers.parameters(), 1e-3)
    began = now(device.type)
    batches = source.epoch(0, 0)
    for batch in batches if device.type == "cpu" else ahead(batches, device):
        torch.autograd.backward(loss_of(towers, batch, low))
        shorten(towers.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        positions += batch.positions
    return positions / (now(device.type) - began)


def packaged(config: TrainConfig, towers: TwoTower, source: Some) -> float:
    """Return the positions a second of one epoch of the package's own training."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(name="fit", config=replace(config, run=folder), epochs=1, validate=None, before=[])
        (row,) = stage.run(towers, source)
    return float(row["positions_per_s"])


def measure(name: str, world: World, kind: str, dim: int, asked: Asked) -> tuple[dict[str, object], float]:
    """Return the row of an encoder at a width, and the package's peak memory in MB."""
    window, positions, sampler = SETTINGS[name]
    rows = len(world.videos)
    model = ModelConfig(history=HISTORIES[kind](), dim=dim, window=window)
    optim = OptimConfig(positions=positions, epochs=1)
    config = TrainConfig(
        dataset="made", run="made", model=model, loss=Softmax(), sampler=sampler, optim=optim, progress=False
    )
    device, config.precision = asked.device, asked.precision
    config.accelerator = Accelerator.cpu if device == "cpu" else Accelerator.gpu
    low = takes_bfloat16(config)
    source = Some(
        *(world.positives, world.users, world.videos, np.arange(2, rows), config.sampler, window, positions),
        limit=asked.steps,
    )
    towers = TwoTower(model, world.encoders, torch.ones(rows, dtype=torch.bool)).to(device)
    module = TowersModule(towers, config.loss, optim, 0, lambda *_: False)
    batch = next(source.epoch(0, 0)).to(towers.start.device)
    with FlopCounterMode(display=False) as counter, ByteCounter() as moved:
        torch.autograd.backward(loss_of(towers, batch, low))
    towers.zero_grad()
    each, traffic = counter.get_total_flops() / batch.positions, moved.total / batch.positions
    packaged(config, towers, replace(source, limit=3))
    peak = peak_mb() if device == "cpu" else torch.cuda.max_memory_allocated() / 1e6
    towers.to(device)
    bare(module, replace(source, limit=3), low)
    ours, loops, ceilings, full, copies = [], [], [], [], []
    for _ in range(TURNS):
        ours.append(packaged(config, towers, source))
        towers.to(device)
        loops.append(bare(module, source, low))
        full.append(product_rate(torch.float32, LARGE[device][0], device))
        ceilings.append(product_rate(torch.bfloat16, LARGE[device][0], device) if low else full[-1])
        copies.append(copy_rate(LARGE[device][1], device))
    rate, ceiling, sgemm, bandwidth = (statistics.median(values) for values in (ours, ceilings, full, copies))
    row: dict[str, object] = {
        "protocol": name,
        "encoder": kind,
        "dim": dim,
        "precision": "bfloat16" if low else "float32",
        "positions_per_s": round(rate),
        "overhead": f"{statistics.median(loops) / rate - 1:.3f}",
        "gflops": f"{rate * each / 1e9:.1f}",
        "ceiling_gflops": f"{ceiling:.0f}",
        "share_of_ceiling": f"{rate * each / 1e9 / ceiling:.3f}",
        "gb_per_s": f"{rate * traffic / 1e9:.2f}",
        "ceiling_gb_per_s": f"{bandwidth:.1f}",
        "share_of_bandwidth": f"{rate * traffic / 1e9 / bandwidth:.3f}",
        "sgemm_gflops": f"{sgemm:.0f}",
        "share_of_sgemm": f"{rate * each / 1e9 / sgemm:.3f}",
    }
    return row, peak


def measured(name: str, world: World, kind: str, dim: int, asked: Asked) -> None:
    """Measure an encoder at a width and record the row."""
    began, device = time.perf_counter(), asked.device
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    row, peak = measure(name, world, kind, dim, asked)
    spent = time.perf_counter() - began
    command = f"python -m benchmarks.training {name} --encoders {kind} --dims {dim}"
    command = " ".join([command, *asked.options()])
    card = device if device == "cpu" else torch.cuda.get_device_name()
    record("training", [row], Circumstances(command=command, seed=0, seconds=spent, peak_mb=peak, device=card))
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def told_when(command: list[str]) -> tuple[list[float], Cost]:
    """Run `towers train`; return the seconds until it told of each epoch, and what all of it took.

    Raises:
        SystemExit: It failed.
    """
    began, told = time.perf_counter(), list[float]()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            print(line, end="", file=sys.stderr)
            if line.startswith("fit "):
                told.append(time.perf_counter() - began)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}; nothing recorded")
    return told, Cost(time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e6)


def to_best(name: str, options: list[str]) -> tuple[dict[str, object], Cost]:
    """Train a recipe with options until valid stands still; return when and how good it was best, and the cost."""
    with tempfile.TemporaryDirectory() as folder:
        plain = [*TO_BEST[name], "refit_epochs=0", f"run={folder}/run", "seed=0"]
        told, cost = told_when([TOWERS, "train", *plain, *options])
        with (Path(folder) / "run" / "history.csv").open(newline="", encoding="utf-8") as file:
            recalls = [float(row["recall@100"]) for row in csv.DictReader(file)]
    if len(told) != len(recalls):
        raise SystemExit(f"towers train told of {len(told)} epochs and wrote {len(recalls)}; nothing recorded")
    best = int(np.argmax(recalls))
    return {
        "epochs": len(recalls),
        "best_epoch": best + 1,
        "seconds_to_best": f"{told[best]:.1f}",
        "recall@100": f"{recalls[best]:.4f}",
    }, cost


def record_to_best(name: str, dataset: str, kind: str, dim: int, device: str) -> None:
    """Record how long an encoder takes to valid's best epoch."""
    accelerator = {"cpu": "cpu", "cuda": "gpu"}[device]
    options = [f"dataset={dataset}", f"model/history={kind}", f"model.dim={dim}", f"accelerator={accelerator}"]
    found, cost = to_best(name, options)
    row = {"protocol": name, "encoder": kind, "dim": dim} | found
    command = f"python -m benchmarks.training {name} --to-best --encoders {kind} --dims {dim}"
    command += "" if device == "cpu" else f" --device {device}"
    card = device if device == "cpu" else torch.cuda.get_device_name()
    how = Circumstances(command=command, seed=0, seconds=cost.seconds, peak_mb=cost.peak_mb, device=card)
    record("training_to_best", [row], how)
    print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)


def main() -> None:
    """Measure what is asked for, each encoder and width in a process of its own, and record a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(SETTINGS), help="which settings")
    parser.add_argument("--dataset", help="folder that `towers prepare` wrote; not for logs that are made up")
    parser.add_argument("--encoders", nargs="+", default=[name for name in HISTORIES if name != "auto"])
    parser.add_argument("--dims", nargs="+", type=int, help="widths; 64 and 128 where left out, 64 with --to-best")
    parser.add_argument("--steps", type=int, default=STEPS, help="batches of a turn")
    parser.add_argument("--precision", choices=[each.name for each in Products], default="auto", help="of products")
    parser.add_argument("--device", choices=list(LARGE), default="cpu")
    parser.add_argument("--to-best", action="store_true", help="train until valid's best epoch instead")
    arguments = parser.parse_args()
    if arguments.to_best and (arguments.precision, arguments.steps) != ("auto", STEPS):
        parser.error("--to-best trains as the recipe does; leave out --precision and --steps")
    if arguments.to_best and arguments.name not in TO_BEST:
        parser.error(f"--to-best goes with {' and '.join(TO_BEST)}")
    arguments.dims = arguments.dims or ([64] if arguments.to_best else [64, 128])
    if (arguments.name in MADE) == bool(arguments.dataset):
        parser.error(f"--dataset FOLDER goes with every name but {', '.join(MADE)}")
    pairs = [(dim, kind) for dim in arguments.dims for kind in arguments.encoders]
    if arguments.to_best:
        for dim, kind in pairs:
            record_to_best(arguments.name, arguments.dataset, kind, dim, arguments.device)
        return
    asked = Asked(arguments.steps, Products[arguments.precision], arguments.device)
    if len(pairs) > 1 and arguments.device == "cpu":
        common = [arguments.name, *asked.options()]
        common += ["--dataset", arguments.dataset] if arguments.dataset else []
        for dim, kind in pairs:
            spend([sys.executable, "-m", "benchmarks.training", *common, "--encoders", kind, "--dims", str(dim)])
        return
    torch.set_num_threads(usable_threads())
    world = World.named(arguments.name, arguments.dataset)
    for dim, kind in pairs:
        measured(arguments.name, world, kind, dim, asked)


if __name__ == "__main__":
    main()
