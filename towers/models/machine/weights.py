"""Weights of torch as arrays for machine code: float32, one after the other in memory, and the code's own."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn


def array(weights: Float[Tensor, "*shape"]) -> Float32[np.ndarray, "*shape"]:
    """Return a copy of weights."""
    return np.array(weights.detach().cpu().float().numpy(), np.float32, order="C")


def stacked(layers: Iterable[Float[Tensor, "*shape"]]) -> Float32[np.ndarray, "layers *shape"]:
    """Return a copy of several layers' weights, [layers, …]."""
    return array(torch.stack([layer.detach() for layer in layers]))


def maps(layers: Iterable[nn.Linear], parts: Iterable[slice] = (slice(None),)) -> Float32[np.ndarray, "layers d e"]:
    """Return what linear layers multiply by from the right, the given parts of their outputs, [layers, d, e]."""
    parts = list(parts)
    return stacked(torch.cat([layer.weight[part] for part in parts]).T for layer in layers)


def biases(layers: Iterable[nn.Linear], parts: Iterable[slice] = (slice(None),)) -> Float32[np.ndarray, "layers e"]:
    """Return what linear layers add, the given parts of their outputs, [layers, e]."""
    parts = list(parts)
    return stacked(torch.cat([layer.bias[part] for part in parts]) for layer in layers)


def norms(*layers: nn.LayerNorm) -> Float[Tensor, "layers 2 d"]:
    """Return the weights and biases of norms, [layers, 2, d]."""
    return torch.stack([torch.stack([layer.weight, layer.bias]) for layer in layers])
