"""AdamW in one pass over small tables, and over the touched rows alone where a table is large."""

from collections.abc import Callable, Collection, Iterable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import Parameter
from torch.nn.utils import get_total_norm
from torch.optim import AdamW


class RowAdamW(AdamW):
    """AdamW whose step costs what the batch touched: rows without a gradient stay as they are.

    A parameter with a sparse gradient, as an embedding with `sparse=True` gives, moves in the rows that the
    gradient names; their means decay, and their weights shrink, only in the steps that touch them. All others
    move as in fused AdamW.

    Args:
        parameters: To be trained.
        lr: Step size.
        weight_decay: Decoupled weight decay.

    Source:
        Loshchilov and Hutter 2019, Decoupled weight decay regularization, algorithm 2; for rows, "lazy" Adam as in
        torch.optim.SparseAdam and TensorFlow Addons' LazyAdam.

    Example:
        >>> table = torch.nn.Embedding(3, 2, sparse=True)
        >>> before = table.weight.detach().clone()
        >>> optimizer = RowAdamW(table.parameters(), lr=0.1)
        >>> table(torch.tensor([1])).sum().backward()
        >>> optimizer.step()
        >>> [round(moved, 4) for moved in (table.weight.detach() - before).mean(1).tolist()]
        [0.0, -0.1, 0.0]
    """

    def __init__(self, parameters: Iterable[Parameter], lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float | Tensor] | None = None) -> float | Tensor | None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        value = None
        if closure is not None:
            with torch.enable_grad():
                value = closure()
        by_rows = []
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    by_rows.append((parameter, parameter.grad.coalesce(), group))
                    parameter.grad = None
        super().step()
        for parameter, gradient, group in by_rows:
            self._move_rows(parameter, gradient, group)
            parameter.grad = gradient
        return value

    def _move_rows(self, table: Parameter, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[table]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(table), torch.zeros_like(table)
        state["step"] += 1
        rate, (beta1, beta2), count = float(group["lr"]), group["betas"], float(state["step"])
        rows, slope = gradient.indices()[0], gradient.values()
        mean = state["exp_avg"].index_select(0, rows).lerp_(slope, 1 - beta1)
        square = state["exp_avg_sq"].index_select(0, rows).mul_(beta2).addcmul_(slope, slope, value=1 - beta2)
        state["exp_avg"].index_copy_(0, rows, mean)
        state["exp_avg_sq"].index_copy_(0, rows, square)
        spread = square.div_(1 - beta2**count).sqrt_().add_(group["eps"])
        weights = table.index_select(0, rows).mul_(1 - rate * group["weight_decay"])
        table.index_copy_(0, rows, weights.addcdiv_(mean, spread, value=-rate / (1 - beta1**count)))


def shorten(parameters: Iterable[Parameter], most: float, dealt: Collection[Parameter] = ()) -> Tensor:
    """Shorten the gradient of all parameters together to a norm of at most `most`; return what it was.

    The norm stays where the gradients are: nobody waits for a GPU to tell it.

    Args:
        parameters: With or without gradients, dense or sparse.
        most: Largest norm.
        dealt: Those of which other processes have the other rows.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(2))
        >>> weight.grad = torch.tensor([3.0, 4.0])
        >>> round(float(shorten([weight], 1.0)), 3), [round(slope, 3) for slope in weight.grad.tolist()]
        (5.0, [0.6, 0.8])
    """
    slopes: dict[Parameter, Tensor] = {}
    for parameter in parameters:
        if parameter.grad is None:
            continue
        if parameter.grad.is_sparse:
            # Only of distinct rows is the norm of the values that of the gradient.
            parameter.grad = parameter.grad.coalesce()
        slopes[parameter] = parameter.grad.values() if parameter.grad.is_sparse else parameter.grad
    parts = {id(parameter) for parameter in dealt}
    norm = get_total_norm([slope for parameter, slope in slopes.items() if id(parameter) not in parts])
    if dealt:
        # Summed alike in all processes: a norm that differed in its last bit would let their weights part.
        square = torch.stack([slopes[parameter].square().sum() for parameter in dealt]).sum()
        distributed.all_reduce(square)
        norm = (norm.square() + square).sqrt()
    shrink = (most / (norm + 1e-6)).clamp(max=1.0)
    if slopes:
        torch._foreach_mul_(list(slopes.values()), shrink)
    return norm
