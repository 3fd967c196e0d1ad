"""What a training step sees: windows of events and the videos that they share."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from towers.features.tensors import FeatureTensors, sent


@dataclass(frozen=True)
class Batch:
    """Windows of users' positives; every position but the padding is a target.

    A window of targets v1 … vh is read as: before v1 the user is known by features and by what
    stands in the history before; after v1 by v1 too; and so on. So `history` is `target` moved by
    one, and a causal encoder's state t is the query for target t.

    Attributes:
        rows: Distinct videos of the batch, [m].
        videos: Their features, [m].
        log_q: Natural log of the probability that the batch holds each as a candidate, [m];
            +inf: only history.
        history: Column of `rows` of the event before each target, [b, h]; -1 before the first.
        state: How many events of the window are strictly older than each target, [b, h]: the state to ask.
        target: Column of `rows` to predict, [b, h]; 0 where weight is 0.
        weight: What each target counts, [b, h]; 0 pads.
        users: Features of each window's user, [b].
        time_ms: When each target happened, and so when it was asked for, UTC, [b, h]; TIME_UNKNOWN where that
            is not known, and in padding.
        known: Videos that each window's user is known to like, [b, m].
        positions: How many targets count; where several processes share the batch, those of all of them.
        worth: What the mean loss of these windows counts in the mean over processes, so that this is the mean
            loss of the whole batch: number of processes × weight here / weight of the whole batch.
        levels: How popular the videos were known to be day by day, [m, p]; None where that is no part of the score.
        day: Column of `levels` for each target, [b, h].
        bonus: Added to a window's scores: the log of how many others each video counts for, [b, m]; None for one.
        sizes: How many targets of these windows count, and how many videos are candidates; None where unknown.
    """

    rows: Int64[Tensor, " m"]
    videos: FeatureTensors
    log_q: Float[Tensor, " m"]
    history: Int64[Tensor, "b h"]
    state: Int64[Tensor, "b h"]
    target: Int64[Tensor, "b h"]
    weight: Float[Tensor, "b h"]
    users: FeatureTensors
    time_ms: Int64[Tensor, "b h"]
    known: Bool[Tensor, "b m"]
    positions: int
    worth: float = 1.0
    levels: Float[Tensor, "m p"] | None = None
    day: Int64[Tensor, "b h"] | None = None
    bonus: Float[Tensor, "b m"] | None = None
    sizes: tuple[int, int] | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        if self.rows.device == device:
            return self
        moved: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                moved[name] = sent(value, device)
            elif isinstance(value, FeatureTensors):
                moved[name] = value.to(device)
        return replace(self, **moved)
