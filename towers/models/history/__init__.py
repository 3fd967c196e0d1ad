"""History encoders: what a user watched, in order, to a state after each event. All causal."""

from towers.models.history.auto import AutoHistory
from towers.models.history.dropout import ByteDropout
from towers.models.history.encoder import Clock, History, HistoryEncoder
from towers.models.history.gated import GatedHistory
from towers.models.history.gru import GruHistory
from towers.models.history.hstu import HstuHistory
from towers.models.history.mean import MeanHistory
from towers.models.history.pooling import AttentionHistory
from towers.models.history.recency import RecencyHistory
from towers.models.history.transformer import TransformerHistory

HISTORIES: dict[str, type[History]] = {
    "auto": AutoHistory,
    "recency": RecencyHistory,
    "mean": MeanHistory,
    "attention": AttentionHistory,
    "gru": GruHistory,
    "transformer": TransformerHistory,
    "gated": GatedHistory,
    "hstu": HstuHistory,
}


def kind_of(history: History) -> str:
    """Return the name by which a kind of history encoder is chosen.

    Example:
        >>> kind_of(MeanHistory())
        'mean'
    """
    return next(name for name, variant in HISTORIES.items() if type(history) is variant)


__all__ = [
    "HISTORIES",
    "AttentionHistory",
    "AutoHistory",
    "ByteDropout",
    "Clock",
    "GatedHistory",
    "GruHistory",
    "History",
    "HistoryEncoder",
    "HstuHistory",
    "MeanHistory",
    "RecencyHistory",
    "TransformerHistory",
    "kind_of",
]
