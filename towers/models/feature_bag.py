"""All features of a thing summed into one vector, with a single gather."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from towers.data import Encoder, Kind
from towers.features import FeatureTensors


class FeatureBag(nn.Module):
    """Embeds codes, bags and content vectors and adds them up.

    Every single- and multi-valued feature has its own lines of one shared table; a bag counts by
    its mean. Content vectors are brought to length 1 and projected. Of each feature, what is missing
    has a vector of its own.

    Args:
        encoders: As fitted by `prepare`; none: the result is 0, whatever features there are.
        dim: Size of the result.
    """

    def __init__(self, encoders: tuple[Encoder, ...], dim: int) -> None:
        super().__init__()
        single = [e.size for e in encoders if e.kind in {Kind.categorical, Kind.numeric}]
        several = [e.size for e in encoders if e.kind is Kind.multi]
        starts = torch.tensor([0, *single, *several]).cumsum(0)
        self.register_buffer("starts", starts[:-1], persistent=False)
        self.singles, self.reads = len(single), bool(encoders)
        self.dim = dim
        self.table = nn.Embedding(int(starts[-1]), dim)
        # Several processes do not go on where a weight that learns gets no gradient; one of no numbers never does.
        self.table.weight.requires_grad_(bool(starts[-1]))
        nn.init.normal_(self.table.weight, std=dim**-0.5 / max(1, len(single) + len(several)) ** 0.5)
        wide = [e.dim for e in encoders if e.kind is Kind.vector]
        self.projections = nn.ModuleList(nn.Linear(width, dim, bias=False) for width in wide)
        self.missing = nn.ParameterList(nn.Parameter(torch.zeros(dim)) for _ in wide)

    def forward(self, features: FeatureTensors) -> Float[Tensor, "n d"]:
        """Return one vector per line, [n, d]."""
        out = torch.zeros(len(features.codes), self.dim, device=self.table.weight.device)
        if not self.reads:
            return out
        places, amounts = self._gather(features)
        if places.shape[1]:
            weight, sparse = self.table.weight, self.table.sparse
            out = functional.embedding_bag(places, weight, per_sample_weights=amounts, mode="sum", sparse=sparse)
        for projection, mark, vectors in zip(self.projections, self.missing, features.vectors, strict=True):
            there = vectors.any(1, keepdim=True)
            out = out + torch.where(there, projection(functional.normalize(vectors, dim=1)), mark)
        return out

    def _gather(self, features: FeatureTensors) -> tuple[Int64[Tensor, "n f"], Float[Tensor, "n f"]]:
        """Return which lines of the table each thing takes, and how much of each."""
        starts = self.get_buffer("starts")
        places = [features.codes + starts[: self.singles]]
        amounts = [torch.ones_like(features.codes, dtype=torch.float32)]
        for start, bag in zip(starts[self.singles :], features.bags, strict=True):
            real = (bag > 0).float()
            count = real.sum(1, keepdim=True)
            places.append(bag + start)
            amounts.append(torch.cat([real[:, :1] + (count == 0), real[:, 1:]], 1) / count.clamp(min=1))
        return torch.cat(places, 1), torch.cat(amounts, 1)
