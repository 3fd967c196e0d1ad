"""Raw logs in, a clean, split and encoded dataset out."""

from towers.data.cut import CUTS, Cut, LeaveOneOut, TimeCut
from towers.data.dataset import TIME_UNKNOWN, Dataset, Positives, Split
from towers.data.encoders import Encoder, Encoders, Kind
from towers.data.files import Columns, Files
from towers.data.folder import atomic_folder, write_json
from towers.data.kuairand import KuaiRand
from towers.data.prepare import SOURCES, PrepareConfig, prepare
from towers.data.source import Ids, Repeats, Source, TimeUnit
from towers.data.vocabulary import Vocabulary

__all__ = [
    "CUTS",
    "SOURCES",
    "TIME_UNKNOWN",
    "Columns",
    "Cut",
    "Dataset",
    "Encoder",
    "Encoders",
    "Files",
    "Ids",
    "Kind",
    "KuaiRand",
    "LeaveOneOut",
    "Positives",
    "PrepareConfig",
    "Repeats",
    "Source",
    "Split",
    "TimeCut",
    "TimeUnit",
    "Vocabulary",
    "atomic_folder",
    "prepare",
    "write_json",
]
