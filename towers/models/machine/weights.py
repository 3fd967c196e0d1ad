"""What an encoder has learned, as arrays for machine code: float32, one after the other in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

_ALL = (slice(None),)


def array(weights: np.ndarray) -> Float32[np.ndarray, "*shape"]:
    """Return a copy of weights, the machine code's own."""
    return np.array(weights, np.float32, order="C")


@dataclass(frozen=True)
class Learned:
    """What a history encoder has learned, and what it was told.

    Attributes:
        weights: By the names that torch has for them within the encoder.
        options: Of the encoder, by their names.
        dim: Size of a video's vector.
    """

    weights: Mapping[str, np.ndarray]
    options: Mapping[str, Any]
    dim: int

    @property
    def times(self) -> bool:
        """Whether the times of events count."""
        return bool(self.options["times"])

    def one(self, name: str) -> Float32[np.ndarray, "*shape"]:
        """Return a copy of one weight."""
        return array(self.weights[name])

    def stacked(self, names: Iterable[str]) -> Float32[np.ndarray, "layers *shape"]:
        """Return a copy of several layers' weights, [layers, …]."""
        return array(np.stack([self.weights[name] for name in names]))

    def blocks(self, name: str) -> Float32[np.ndarray, "blocks *shape"]:
        """Return a copy of all blocks' weights of a name, [blocks, …]."""
        return self.stacked(f"blocks.{block}.{name}" for block in range(self.options["blocks"]))

    def maps(self, layer: str, parts: Iterable[slice] = _ALL) -> Float32[np.ndarray, "blocks d e"]:
        """Return what a linear layer of each block multiplies by from the right, the given parts of its outputs."""
        weight = self.blocks(f"{layer}.weight")
        return array(np.concatenate([weight[:, part] for part in parts], axis=1).swapaxes(1, 2))

    def biases(self, layer: str, parts: Iterable[slice] = _ALL) -> Float32[np.ndarray, "blocks e"]:
        """Return what a linear layer of each block adds, the given parts of its outputs."""
        bias = self.blocks(f"{layer}.bias")
        return np.concatenate([bias[:, part] for part in parts], axis=1)

    def norms(self, *layers: str) -> Float32[np.ndarray, "blocks layers 2 d"]:
        """Return the weights and biases of norms of each block."""
        return np.stack([np.stack([self.blocks(f"{each}.{of}") for of in ("weight", "bias")], 1) for each in layers], 1)

    def norm(self) -> Float32[np.ndarray, "2 d"]:
        """Return the weight and bias of the states' norm."""
        return self.stacked(["norm.weight", "norm.bias"])

    def quarters(self) -> list[slice]:
        """Return where four maps to the width of a vector stand in the outputs of one layer."""
        return [slice(place * self.dim, (place + 1) * self.dim) for place in range(4)]
