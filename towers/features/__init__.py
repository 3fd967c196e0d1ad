"""From a dataset to batches: encoded features, windows of histories, samplers of candidates."""

from towers.features.aging import aged
from towers.features.batch import Batch
from towers.features.batches import BatchSource
from towers.features.context import CONTEXT_SIZES, context_codes
from towers.features.requests import Requests
from towers.features.sampler import Hardest, Pool, Sampler, Step
from towers.features.samplers import SAMPLERS, Catalogue, Hard, InBatch, Mixed, Popularity, Queued, Uniform
from towers.features.spectral import spectral_vectors
from towers.features.table import FeatureTable, FeatureTensors, encode_table
from towers.features.trend import Trend, tells_days
from towers.features.windows import Windows, pad_histories

__all__ = [
    "CONTEXT_SIZES",
    "SAMPLERS",
    "Batch",
    "BatchSource",
    "Catalogue",
    "FeatureTable",
    "FeatureTensors",
    "Hard",
    "Hardest",
    "InBatch",
    "Mixed",
    "Pool",
    "Popularity",
    "Queued",
    "Requests",
    "Sampler",
    "Step",
    "Trend",
    "Uniform",
    "Windows",
    "aged",
    "context_codes",
    "encode_table",
    "pad_histories",
    "spectral_vectors",
    "tells_days",
]
