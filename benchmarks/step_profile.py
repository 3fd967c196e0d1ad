"""Draws where the time of a training step goes, forward, backward and optimiser, by operation.

    python -m benchmarks.step_profile kuairand --dataset runs/demo/dataset --encoder gated

The picture goes to benchmarks/profile-NAME-ENCODER.png.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.record import CHECKOUT, usable_threads
from benchmarks.training import SETTINGS, Some, loss_of, takes_bfloat16
from benchmarks.worlds import MADE, World
from towers.losses import Softmax
from towers.models import HISTORIES, ModelConfig, TwoTower
from towers.training.adam import RowAdamW, shorten
from towers.training.config import TrainConfig

SHOWN = 14
PRODUCTS = (
    "aten::addmm",
    "aten::mm",
    "aten::bmm",
    "aten::baddbmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
)


def shares(towers: TwoTower, source: Some, low: bool) -> dict[str, float]:
    """Return each operation's own share of the time of the source's steps, the largest first."""
    optimizer = RowAdamW(towers.parameters(), 1e-3)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        for batch in source.epoch(0, 0):
            torch.autograd.backward(loss_of(towers, batch, low))
            shorten(towers.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    spent = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    total = sum(spent.values())
    return {key: spent[key] / total for key in sorted(spent, key=lambda key: -spent[key])}


def draw(found: dict[str, float], title: str, to: Path) -> None:
    """Draw the largest shares and what is left; products of matrices in another colour."""
    top = dict(list(found.items())[:SHOWN])
    top["all else"] = 1 - sum(top.values())
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    names = list(reversed(top))
    colors = ["#c2410c" if name.startswith(PRODUCTS) else "#475569" for name in names]
    bars = axes.barh([name.removeprefix("aten::")[:48] for name in names], [top[name] for name in names], color=colors)
    axes.bar_label(bars, [f"{top[name]:.1%}" for name in names], padding=3, fontsize=8)
    axes.set(title=title, xlabel="share of the step; orange: products of matrices")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(to, dpi=110)
    plt.close(figure)


def main() -> None:
    """Profile one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(SETTINGS), help="which settings")
    parser.add_argument("--dataset", help="folder that `towers prepare` wrote; not for logs that are made up")
    parser.add_argument("--encoder", choices=[name for name in HISTORIES if name != "auto"], default="gated")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    if (arguments.name in MADE) == bool(arguments.dataset):
        parser.error(f"--dataset FOLDER goes with every name but {', '.join(MADE)}")
    torch.set_num_threads(usable_threads())
    world = World.named(arguments.name, arguments.dataset)
    window, positions, sampler = SETTINGS[arguments.name]
    candidates = np.arange(2, len(world.videos))
    source = Some(
        *(world.positives, world.users, world.videos, candidates, sampler, window, positions),
        limit=arguments.steps,
    )
    model = ModelConfig(history=HISTORIES[arguments.encoder](), dim=arguments.dim, window=window)
    towers = TwoTower(model, world.encoders, torch.ones(len(world.videos), dtype=torch.bool))
    low = takes_bfloat16(TrainConfig(dataset="made", run="made", model=model, loss=Softmax(), sampler=sampler))
    found = shares(towers, source, low)
    kind = "bfloat16" if low else "float32"
    title = f"{arguments.name}, {arguments.encoder}, d {arguments.dim}, window {window}, {kind}"
    title += f", {usable_threads()} threads"
    draw(found, title, CHECKOUT / "benchmarks" / f"profile-{arguments.name}-{arguments.encoder}.png")
    print(", ".join(f"{name} {share:.1%}" for name, share in list(found.items())[:SHOWN]))


if __name__ == "__main__":
    main()
