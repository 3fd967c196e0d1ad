"""Batches to vectors: history encoders, the user tower, the video tower. Pure torch."""

from towers.models.config import ModelConfig, PopularityTerm
from towers.models.encode import likeness_queries, query_vectors, vectors_of_new, video_vectors
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
from towers.models.storage import describe_model, load_towers, read_model, save_towers
from towers.models.two_tower import TwoTower
from towers.models.user_tower import UserTower

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
    "TransformerHistory",
    "TwoTower",
    "UserTower",
    "describe_model",
    "likeness_queries",
    "load_towers",
    "open_engagement",
    "open_run",
    "query_vectors",
    "read_model",
    "save_towers",
    "vectors_of_new",
    "video_vectors",
]
