"""Two towers for the retrieval stage of a short-video app: from logs of views to served candidates.

Every name below is imported when it is first used, so that `import towers` is quick
and loads neither torch nor hydra.
"""

from typing import TYPE_CHECKING

from towers.lazy import names_of

if TYPE_CHECKING:
    from towers.data import Dataset, Files, KuaiRand, LeaveOneOut, PrepareConfig, TimeCut, prepare
    from towers.evaluation import EvaluateConfig, Report, evaluate
    from towers.features import Catalogue, Hard, InBatch, Mixed, Popularity, Queued, Uniform
    from towers.index import Auto, Exact, Ivf, Live, Mask
    from towers.losses import Bpr, Contrastive, Gbce, Softmax
    from towers.models import (
        AttentionHistory,
        AutoHistory,
        EngagementConfig,
        GatedHistory,
        GruHistory,
        HstuHistory,
        MeanHistory,
        ModelConfig,
        PopularityTerm,
        RecencyHistory,
        TransformerHistory,
    )
    from towers.publishing import Bundle, PublishConfig, publish
    from towers.serving import Retriever
    from towers.training import OptimConfig, TrainConfig, train
    from towers.types import (
        BundleError,
        ConfigError,
        DataError,
        Geometry,
        Hits,
        RunError,
        TowersError,
        UnknownIdError,
    )

__version__ = "0.1.0"

_ROOMS = {
    "data": ("Dataset", "Files", "KuaiRand", "LeaveOneOut", "PrepareConfig", "TimeCut", "prepare"),
    "evaluation": ("EvaluateConfig", "Report", "evaluate"),
    "features": ("Catalogue", "Hard", "InBatch", "Mixed", "Popularity", "Queued", "Uniform"),
    "index": ("Auto", "Exact", "Ivf", "Live", "Mask"),
    "losses": ("Bpr", "Contrastive", "Gbce", "Softmax"),
    "models": (
        "AttentionHistory",
        "AutoHistory",
        "EngagementConfig",
        "GatedHistory",
        "GruHistory",
        "HstuHistory",
        "MeanHistory",
        "ModelConfig",
        "PopularityTerm",
        "RecencyHistory",
        "TransformerHistory",
    ),
    "publishing": ("Bundle", "PublishConfig", "publish"),
    "serving": ("Retriever",),
    "training": ("OptimConfig", "TrainConfig", "train"),
    "types": (
        "BundleError",
        "ConfigError",
        "DataError",
        "Geometry",
        "Hits",
        "RunError",
        "TowersError",
        "UnknownIdError",
    ),
}

__all__ = [
    "AttentionHistory",
    "Auto",
    "AutoHistory",
    "Bpr",
    "Bundle",
    "BundleError",
    "Catalogue",
    "ConfigError",
    "Contrastive",
    "DataError",
    "Dataset",
    "EngagementConfig",
    "EvaluateConfig",
    "Exact",
    "Files",
    "GatedHistory",
    "Gbce",
    "Geometry",
    "GruHistory",
    "Hard",
    "Hits",
    "HstuHistory",
    "InBatch",
    "Ivf",
    "KuaiRand",
    "LeaveOneOut",
    "Live",
    "Mask",
    "MeanHistory",
    "Mixed",
    "ModelConfig",
    "OptimConfig",
    "Popularity",
    "PopularityTerm",
    "PrepareConfig",
    "PublishConfig",
    "Queued",
    "RecencyHistory",
    "Report",
    "Retriever",
    "RunError",
    "Softmax",
    "TimeCut",
    "TowersError",
    "TrainConfig",
    "TransformerHistory",
    "Uniform",
    "UnknownIdError",
    "evaluate",
    "prepare",
    "publish",
    "train",
]


__getattr__ = names_of(__name__, _ROOMS)


def __dir__() -> list[str]:
    """List the public names, those not imported yet included."""
    return sorted({*globals(), *__all__})
