"""Raw logs in, a clean, split and encoded dataset out."""

from towers.data.dataset import TIME_UNKNOWN, Dataset, Positives, Split
from towers.data.encoders import Encoder, Encoders, Kind
from towers.data.folder import atomic_folder, write_json
from towers.data.vocabulary import Vocabulary

__all__ = [
    "TIME_UNKNOWN",
    "Dataset",
    "Encoder",
    "Encoders",
    "Kind",
    "Positives",
    "Split",
    "Vocabulary",
    "atomic_folder",
    "write_json",
]
