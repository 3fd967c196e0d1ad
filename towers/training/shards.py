"""Tables of ids dealt out over the processes, row by row: for a table that one device cannot hold."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, distributed, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from towers.models import TwoTower
from towers.training.ranks import Ranks

TABLES = ("ids", "user_ids")
"""Tables among the towers' parts that have a row for each id."""


class RowShards(nn.Embedding):
    """One process's rows of a table; row r is kept by process r modulo their number.

    Asked for rows, it asks those who keep them: numbers go out and vectors come back; on the way back slopes go
    out. What a step sends is what it touches, whatever the size of the table, and the rows' gradients may stay
    sparse, which those of torch.distributed.tensor cannot; TorchRec, which does the same, ties itself to
    torchmetrics 1.0.3 and to optimisers of its own.

    Args:
        table: The whole table.
        ranks: The processes.

    Source:
        Mudigere et al. 2022, Software-hardware co-design for fast and scalable training of deep learning
        recommendation models, section 4.2: row-wise parallel tables.
    """

    weight: nn.Parameter

    def __init__(self, table: nn.Embedding, ranks: Ranks) -> None:
        self.ranks, self.rows = ranks, table.num_embeddings
        mine = self.deal(table.weight.detach())
        super().__init__(len(mine), table.embedding_dim, sparse=table.sparse, device=mine.device)
        self.weight.data.copy_(mine)

    def forward(self, rows: Int64[Tensor, " m"]) -> Float[Tensor, "m d"]:
        """Return the rows' vectors; all processes ask at once, each for its own."""
        count = self.ranks.count
        owner = rows % count
        order = torch.argsort(owner, stable=True)
        sent = torch.bincount(owner, minlength=count)
        received = torch.empty_like(sent)
        distributed.all_to_all_single(received, sent)
        asked, wanted = sent.tolist(), received.tolist()
        numbers = rows.new_empty(sum(wanted))
        distributed.all_to_all_single(numbers, rows[order] // count, wanted, asked)
        found = functional.embedding(numbers, self.weight, sparse=self.sparse)
        answers: Tensor = _Answers.apply(found, asked, wanted)  # type: ignore[no-untyped-call]
        return answers[torch.argsort(order)]

    def deal(self, whole: Tensor) -> Tensor:
        """Return this process's rows of something that has one for each of the table."""
        return whole[self.ranks.rank :: self.ranks.count].clone()

    def collect(self, mine: Tensor) -> Tensor:
        """Return everybody's rows, in order, in the first process's main memory; the others keep what they have."""
        places = -(-self.rows // self.ranks.count)
        padded = torch.zeros((places, *mine.shape[1:]), dtype=mine.dtype)
        padded[: len(mine)] = mine.detach()
        parts = [torch.empty_like(padded) for _ in range(self.ranks.count)] if self.ranks.first else None
        distributed.gather(padded, parts, dst=0)
        return torch.stack(parts, dim=1).flatten(0, 1)[: self.rows] if parts else mine


class _Answers(torch.autograd.Function):
    """Sends found vectors to those who asked; slopes come back as the mean over processes, as those of others do."""

    @staticmethod
    def forward(ctx: Any, found: Tensor, asked: list[int], wanted: list[int]) -> Tensor:  # noqa: ANN401 - torch's
        ctx.sizes = asked, wanted
        answers = found.new_empty(sum(asked), found.shape[1])
        distributed.all_to_all_single(answers, found.contiguous(), asked, wanted)
        return answers

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401 - torch's
        asked, wanted = ctx.sizes
        slopes = outer[0].new_empty(sum(wanted), outer[0].shape[1])
        distributed.all_to_all_single(slopes, outer[0].contiguous(), wanted, asked)
        return slopes / distributed.get_world_size(), None, None


@contextmanager
def dealt_out(towers: TwoTower, module: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Let each process keep only its rows of the tables of ids within the block.

    After it the tables are whole again and their weights are nobody's: load them from a checkpoint.

    Args:
        towers: In training.
        module: Lightning's, which holds the towers as `towers`.
        ranks: The processes.
    """
    for name in TABLES:
        if isinstance(table := getattr(towers, name), nn.Embedding):
            setattr(towers, name, RowShards(table, ranks))
            del table
    ignore = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
    ignore(module, [f"towers.{name}.weight" for name in shards_of(towers)])  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for name, shards in shards_of(towers).items():
            setattr(towers, name, nn.Embedding(shards.rows, shards.embedding_dim, sparse=shards.sparse))


def shards_of(towers: TwoTower) -> dict[str, RowShards]:
    """Return this process's parts of the tables that are dealt out, by name."""
    parts = {name: getattr(towers, name) for name in TABLES}
    return {name: part for name, part in parts.items() if isinstance(part, RowShards)}


def change_rows(checkpoint: dict[str, Any], name: str, place: int, change: Callable[[Tensor], Tensor]) -> None:
    """Change everything in a checkpoint that has a row for each row of a table.

    Args:
        checkpoint: Lightning's.
        name: Of the table, one of `TABLES`.
        place: Of the table among the optimiser's parameters.
        change: `RowShards.collect` or `RowShards.deal`.
    """
    weights, name = checkpoint["state_dict"], f"{name}.weight"
    weights[f"towers.{name}"] = change(weights[f"towers.{name}"])
    for optimizer in checkpoint["optimizer_states"]:
        # What is inside is the optimiser's own, so it is replaced and not changed.
        of_table = {name: change(value) if value.ndim else value for name, value in optimizer["state"][place].items()}
        optimizer["state"] = {**optimizer["state"], place: of_table}
    for callback in checkpoint["callbacks"].values():
        for kept, values in callback.items():
            if isinstance(values, dict) and name in values:
                callback[kept] = {**values, name: change(values[name])}
