"""Causal attention whose weights know how far back an event is."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from towers.models.history.encoder import within


class CausalAttention(nn.Module):
    """Softmax attention over events ≤ t, with a learned term of the logits for each distance.

    Args:
        heads: How many.
        length: Events that the encoder reads, the start not included.
    """

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.by_distance = nn.Parameter(torch.zeros(heads, length + 1))

    def forward(
        self, query: Float[Tensor, "b h d"], key: Float[Tensor, "b h d"], value: Float[Tensor, "b h d"]
    ) -> Float[Tensor, "b h d"]:
        """Return what each event attends to."""
        batch, count, dim = query.shape
        within(count, self.length)
        q, k, v = (part.reshape(batch, count, self.heads, -1).transpose(1, 2) for part in (query, key, value))
        logits = q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)
        weights = (logits + self.bias(query.shape[1])).softmax(-1)
        return (weights @ v).transpose(1, 2).reshape(batch, count, dim)

    def bias(self, count: int) -> Float[Tensor, "k h h"]:
        """Return the term of each pair of events: of its distance; -inf for what comes after.

        A row of [distances reversed, -inf …] read with a stride one shorter than it is long moves
        by one from line to line: the whole square without a gather, whose gradient would be slow.
        """
        later = torch.full((self.heads, count), -torch.inf, device=self.by_distance.device)
        line = torch.cat([self.by_distance[:, :count].flip(-1), later], dim=-1)
        square = line[:, None].expand(-1, count, -1).flatten(1)[:, : count * (2 * count - 1)]
        return square.view(self.heads, count, 2 * count - 1)[..., count - 1 :]
