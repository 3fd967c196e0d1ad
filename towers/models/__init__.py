"""Batches to vectors: history encoders, the user tower, the video tower; what requests run needs no torch."""

from typing import TYPE_CHECKING

from towers.lazy import names_of

if TYPE_CHECKING:
    from towers.models.arrays import TowerArrays
    from towers.models.config import ModelConfig, PopularityTerm
    from towers.models.encode import TorchUserTower, query_vectors, video_vectors
    from towers.models.engagement import EngagementConfig
    from towers.models.engagement_model import EngagementModel, open_engagement
    from towers.models.feature_bag import FeatureBag
    from towers.models.history import (
        HISTORIES,
        AttentionHistory,
        AutoHistory,
        GatedHistory,
        GruHistory,
        History,
        HistoryEncoder,
        HstuHistory,
        MeanHistory,
        RecencyHistory,
        TransformerHistory,
    )
    from towers.models.occasions import Occasions
    from towers.models.run import Run, open_run
    from towers.models.storage import arrays_of, describe_model, load_towers, read_model, save_towers
    from towers.models.two_tower import TwoTower
    from towers.models.user_tower import UserTower, has_form
    from towers.models.video_tower import VideoTower

_MODULES = {
    "arrays": ("TowerArrays",),
    "config": (
        "ModelConfig",
        "PopularityTerm",
    ),
    "encode": (
        "TorchUserTower",
        "query_vectors",
        "video_vectors",
    ),
    "engagement": ("EngagementConfig",),
    "engagement_model": (
        "EngagementModel",
        "open_engagement",
    ),
    "feature_bag": ("FeatureBag",),
    "history": (
        "HISTORIES",
        "AttentionHistory",
        "AutoHistory",
        "GatedHistory",
        "GruHistory",
        "History",
        "HistoryEncoder",
        "HstuHistory",
        "MeanHistory",
        "RecencyHistory",
        "TransformerHistory",
    ),
    "occasions": ("Occasions",),
    "run": (
        "Run",
        "open_run",
    ),
    "storage": (
        "arrays_of",
        "describe_model",
        "load_towers",
        "read_model",
        "save_towers",
    ),
    "two_tower": ("TwoTower",),
    "user_tower": (
        "UserTower",
        "has_form",
    ),
    "video_tower": ("VideoTower",),
}
__getattr__ = names_of(__name__, _MODULES)

__all__ = [
    "HISTORIES",
    "AttentionHistory",
    "AutoHistory",
    "EngagementConfig",
    "EngagementModel",
    "FeatureBag",
    "GatedHistory",
    "GruHistory",
    "History",
    "HistoryEncoder",
    "HstuHistory",
    "MeanHistory",
    "ModelConfig",
    "Occasions",
    "PopularityTerm",
    "RecencyHistory",
    "Run",
    "TorchUserTower",
    "TowerArrays",
    "TransformerHistory",
    "TwoTower",
    "UserTower",
    "VideoTower",
    "arrays_of",
    "describe_model",
    "has_form",
    "load_towers",
    "open_engagement",
    "open_run",
    "query_vectors",
    "read_model",
    "save_towers",
    "video_vectors",
]
