"""From a trained run to a bundle: written beside, proven, and only then pointed to."""

import hashlib
import json
import logging
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64

from towers import __version__
from towers.data import Dataset, Positives, Split, atomic_folder, write_json
from towers.features import FeatureTable, encode_table
from towers.index import INDEXES, Auto, Exact, Index, library, measured_recall
from towers.index.recall import to_measure
from towers.kinds import check_folders, check_kinds
from towers.models import Run, arrays_of, open_run, query_vectors, save_towers, video_vectors
from towers.models.arrays import MODEL
from towers.models.run import TOWERS
from towers.models.storage import weights_in
from towers.publishing import checksums, versions
from towers.publishing.bundle import POSITIVES, SCHEMA, Bundle
from towers.publishing.parity import TOLERANCE, Material, Sample, requests_of
from towers.publishing.picture import PICTURE, draw_curve
from towers.publishing.proof import draw_sample, prove
from towers.types import ConfigError, RunError

_log = logging.getLogger(__name__)
_FIRST_ROW = 2
_RECALL_K, _RECALL_USERS = 100, 2000


class Histories(Enum):
    """Which positives a bundle knows its users by."""

    all = "all"
    """Every positive of the dataset, the test split's included: what a service wants."""
    past = "past"
    """Those before the test split: what an offline evaluation allows, so that both give the same lists."""


@dataclass(kw_only=True)
class PublishConfig:
    """What to publish, and where.

    Attributes:
        run: Folder of a finished training run.
        bundle: Folder of the bundle; made where it is missing, a new version added where it is not.
        index: How the videos' vectors are searched.
        histories: Which positives the users are known by.
        keep: How many versions stay; older ones are removed, never the current one.
    """

    run: str
    bundle: str
    index: Index = field(default_factory=Auto)
    histories: Histories = Histories.all
    keep: int = 3

    def __post_init__(self) -> None:
        check_kinds(self)
        check_folders(self, "run", "bundle")
        if self.keep < 1:
            raise ConfigError(f"keep is {self.keep}; at least the current version must stay: keep=1 or more")


def publish(config: PublishConfig) -> Bundle:
    """Publish a run as a new version of a bundle, and make it the current one.

    The version is written in full, flushed, renamed into place, opened as a reader would
    open it and asked for its proof; only then the pointer moves. Whenever the process
    dies before that, the bundle is what it was.

    Returns:
        The new version, open.

    Raises:
        RunError: The run has not finished, or its dataset has changed since.
        BundleError: The folder is no bundle, another process publishes into it, or the proof fails.
    """
    run = open_run(config.run)
    dataset = _dataset_of(run)
    root = Path(config.bundle).absolute()
    with versions.publishing(root):
        material, videos, queries = _material(config, run, dataset)
        name = versions.next_name(root, _content_hash(config, run))
        target = root / versions.VERSIONS / name
        with atomic_folder(target) as partial:
            sample = _write(partial, material, run, dataset)
            if isinstance(config.index, Auto) and material.index.curve:
                draw_curve(material.index.curve, config.index.wish, partial / PICTURE)
            figures = prove(sample, run.towers, material, videos, partial / "towers")
            manifest = _manifest(config, run, dataset, material) | {"version": name, "proof": figures}
            manifest["index"] = _index_told(config, material, queries)
            manifest["evaluated"] = (partial / "report.json").is_file()
            manifest |= {"files": checksums.digests(partial), "bytes": checksums.sizes(partial)}
            write_json(partial / checksums.MANIFEST, manifest)
            (partial / checksums.SEAL).write_text(f"{checksums.digest(partial / checksums.MANIFEST)}\n")
        bundle = _opened_or_removed(target)
        versions.point_to(root, name)
        gone = versions.prune(root, config.keep)
    if gone:
        _log.info("removed %s, which keep=%d leaves out", ", ".join(gone), config.keep)
    return bundle


def _dataset_of(run: Run) -> Dataset:
    dataset = Dataset.open(run.dataset)
    if dataset.fingerprint != run.info["dataset_fingerprint"]:
        raise RunError(
            f"dataset {run.dataset} is not the one that {run.folder} was trained on: its fingerprint is "
            f"{dataset.fingerprint[:12]}, the run's {run.info['dataset_fingerprint'][:12]}; train again"
        )
    return dataset


def _material(
    config: PublishConfig, run: Run, dataset: Dataset
) -> tuple[Material, FeatureTable, Float32[np.ndarray, "q *i d"]]:
    """Return what is published, the videos' features, and vectors of some users by which the index was measured."""
    towers = run.towers
    users = encode_table(towers.encoders.users, dataset.user_table())
    videos = encode_table(towers.encoders.videos, dataset.video_table())
    vectors = video_vectors(towers, videos)
    splits = [split for split in Split if config.histories is Histories.all or split is not Split.test]
    positives = dataset.positives(*splits)
    asking = _some_users(positives)
    queries = query_vectors(towers, vectors, requests_of(towers.window, positives, asking), users.take(asking))
    rows = np.arange(_FIRST_ROW, len(vectors))
    index = config.index.build(vectors[_FIRST_ROW:], rows, towers.geometry, queries)
    return Material(arrays_of(towers), vectors, positives, users, index, towers), videos, queries


def _some_users(positives: Positives) -> Int64[np.ndarray, " q"]:
    """Return users drawn from those with a history; the unknown one where nobody has any."""
    active = np.flatnonzero(positives.counts() > 0)
    drawn = np.random.default_rng(0).permutation(active)[:_RECALL_USERS]
    return np.sort(drawn) if len(drawn) else np.array([1])


def _write(folder: Path, material: Material, run: Run, dataset: Dataset) -> Sample:
    save_towers(run.towers, folder / "towers")
    np.save(folder / "vectors.npy", material.vectors)
    material.index.save(folder / "index")
    for name in ("users.parquet", "videos.parquet"):
        shutil.copyfile(dataset.folder / name, folder / name)
    report = run.folder / "report" / "report.json"
    if report.is_file():
        shutil.copyfile(report, folder / "report.json")
    _write_positives(folder / "histories", material.positives)
    sample = draw_sample(run.towers, material)
    sample.save(folder / "sample")
    return sample


def _write_positives(folder: Path, positives: Positives) -> None:
    folder.mkdir()
    for name in POSITIVES:
        np.save(folder / f"{name}.npy", getattr(positives, name))


def _manifest(config: PublishConfig, run: Run, dataset: Dataset, material: Material) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "read_at": dataset.read_at.isoformat(timespec="milliseconds"),
        "versions": {"towers": __version__, "torch": torch.__version__, **library()},
        "run": {name: run.info[name] for name in ("config", "seed", "best_epoch", "valid") if name in run.info},
        "fingerprints": {
            "dataset": dataset.fingerprint,
            "users": dataset.users.fingerprint,
            "videos": dataset.videos.fingerprint,
            "encoders": material.towers.encoders.fingerprint,
        },
        "protocol": dataset.protocol,
        "geometry": run.towers.geometry.name,
        "dim": run.towers.dim,
        "histories": config.histories.name,
        "repeats": dataset.repeats,
        "counts": {
            "users": len(dataset.users) - _FIRST_ROW,
            "videos": len(dataset.videos) - _FIRST_ROW,
            "positives": len(material.positives),
        },
        "tolerance": TOLERANCE,
    }


def _index_told(config: PublishConfig, material: Material, queries: Float32[np.ndarray, "q *i d"]) -> dict[str, Any]:
    """Return what the manifest says of the index: why it is what it is, and its recall against exact search."""
    index, rows = material.index, np.arange(_FIRST_ROW, len(material.vectors))
    reference = Exact().build(material.vectors[_FIRST_ROW:], rows, index.geometry)
    return {
        "asked": _index_config(config.index),
        "kind": index.kind,
        "exact": index.exact,
        "why": index.why,
        f"recall@{_RECALL_K}": measured_recall(index, reference, to_measure(queries), _RECALL_K),
        "curve": [point.told() for point in index.curve],
    }


def _index_config(index: Index) -> dict[str, Any]:
    kind = next(name for name, variant in INDEXES.items() if type(index) is variant)
    return {"kind": kind, **asdict(index)}


def _content_hash(config: PublishConfig, run: Run) -> str:
    parts = {
        "dataset": run.info["dataset_fingerprint"],
        "towers": [checksums.digest(path) for path in (weights_in(run.folder / TOWERS), run.folder / TOWERS / MODEL)],
        "index": _index_config(config.index),
        "histories": config.histories.name,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _opened_or_removed(target: Path) -> Bundle:
    """Return the version as a reader sees it; one that cannot be opened does not stay."""
    try:
        return Bundle.open(target)
    except BaseException:
        shutil.rmtree(target)
        raise
