"""Features of users and videos as tensors, for torch."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from towers.features.table import FeatureTable


@dataclass(frozen=True)
class FeatureTensors:
    """A :class:`FeatureTable` as torch tensors, int64 and float32."""

    rows: Int64[Tensor, " n"]
    codes: Int64[Tensor, "n f"]
    bags: tuple[Int64[Tensor, "n _w"], ...] = ()
    vectors: tuple[Float[Tensor, "n _d"], ...] = ()

    @classmethod
    def of(cls, table: FeatureTable, rows: Int64[np.ndarray, " n"]) -> "FeatureTensors":
        """Return a table as tensors.

        Args:
            table: Features, [n].
            rows: Of the things in the dataset, [n].
        """
        bags = tuple(torch.from_numpy(bag).long() for bag in table.bags)
        vectors = tuple(map(torch.from_numpy, table.vectors))
        return cls(torch.from_numpy(rows), torch.from_numpy(table.codes).long(), bags, vectors)

    def without(self, gone: Bool[Tensor, " n"]) -> "FeatureTensors":
        """Return the features with some lines missing altogether, as an unknown user's are; rows stay."""
        stay = ~gone[:, None]
        bags, vectors = (tuple(each * stay for each in several) for several in (self.bags, self.vectors))
        return FeatureTensors(self.rows, self.codes * stay, bags, vectors)

    def to(self, device: torch.device) -> "FeatureTensors":
        """Return the features on another device."""
        bags, vectors = (tuple(sent(t, device) for t in several) for several in (self.bags, self.vectors))
        return FeatureTensors(sent(self.rows, device), sent(self.codes, device), bags, vectors)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; a GPU fetches it in its turn, from memory that stays put, and nobody waits."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
