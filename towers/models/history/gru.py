"""A recurrent network over what was watched."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from towers.kinds import check_kinds
from towers.models.history.dropout import ByteDropout
from towers.models.history.encoder import Clock, History, HistoryEncoder, a_share, at_least_one


@dataclass(kw_only=True)
class GruHistory(History):
    """Gated recurrent units that read one event after the other.

    Recommendation: for comparison with published tables, and where histories are long and a CPU
    trains: its time grows with their length alone, but no two steps of one history run at once, which
    leaves a GPU idle.

    Source:
        Hidasi et al. 2016, Session-based Recommendations with Recurrent Neural Networks (GRU4Rec),
        section 3.1.
    """

    layers: int = 1
    """Recurrent layers, one above the other."""
    dropout: float = 0.2
    """Share of the states that a training step leaves out."""

    def __post_init__(self) -> None:
        """Check the options."""
        check_kinds(self, "model.history.")
        at_least_one(layers=self.layers)
        a_share(dropout=self.dropout)

    def build(self, dim: int, length: int) -> HistoryEncoder:  # noqa: ARG002 - a recurrence has no length
        """Return the encoder."""
        return _Gru(dim, self.layers, self.dropout)


class _Gru(HistoryEncoder):
    def __init__(self, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.width = dim
        self.cells = nn.GRU(dim, dim, layers, batch_first=True)
        self.dropout = ByteDropout(dropout)

    def forward(self, events: Float[Tensor, "b h d"], clock: Clock) -> Float[Tensor, "b h w"]:  # noqa: ARG002
        states, _ = self.cells(events * self.width**0.5)
        fitted: Tensor = self.dropout(states) * self.width**-0.5
        return fitted
