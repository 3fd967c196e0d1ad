"""From a dataset to batches: encoded features, windows of histories, samplers of candidates."""

from typing import TYPE_CHECKING

from towers.lazy import names_of

if TYPE_CHECKING:
    from towers.features.aging import aged
    from towers.features.batch import Batch
    from towers.features.batches import BatchSource
    from towers.features.calendar import CONTEXT_SIZES
    from towers.features.context import context_codes
    from towers.features.requests import Requests
    from towers.features.sampler import Hardest, Pool, Sampler, Step
    from towers.features.samplers import SAMPLERS, Catalogue, Hard, InBatch, Mixed, Popularity, Queued, Uniform
    from towers.features.spectral import spectral_vectors
    from towers.features.table import FeatureTable, encode_table
    from towers.features.tensors import FeatureTensors
    from towers.features.trend import Trend, tells_days
    from towers.features.windows import Windows, pad_histories

_MODULES = {
    "aging": ("aged",),
    "batch": ("Batch",),
    "batches": ("BatchSource",),
    "calendar": ("CONTEXT_SIZES",),
    "context": ("context_codes",),
    "requests": ("Requests",),
    "sampler": (
        "Hardest",
        "Pool",
        "Sampler",
        "Step",
    ),
    "samplers": (
        "SAMPLERS",
        "Catalogue",
        "Hard",
        "InBatch",
        "Mixed",
        "Popularity",
        "Queued",
        "Uniform",
    ),
    "spectral": ("spectral_vectors",),
    "table": (
        "FeatureTable",
        "encode_table",
    ),
    "tensors": ("FeatureTensors",),
    "trend": (
        "Trend",
        "tells_days",
    ),
    "windows": (
        "Windows",
        "pad_histories",
    ),
}
__getattr__ = names_of(__name__, _MODULES)

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
