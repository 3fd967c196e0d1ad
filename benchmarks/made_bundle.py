"""A bundle of made-up videos, published as any other: for measuring what serving costs at sizes no open log has."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.vectors import LIKE, drawn
from towers.data import Dataset, Encoder, Encoders, Kind, write_json
from towers.index import Auto, Exact
from towers.models import MeanHistory, ModelConfig, PopularityTerm, TwoTower, save_towers
from towers.publishing import PublishConfig, publish
from towers.types import Geometry

USERS, WINDOW, DIM = 100_000, 50, 64
REGIONS = tuple(f"r{n}" for n in range(8))


def made_bundle(videos: int, folder: Path) -> Path:
    """Publish a bundle unless it is there; return its root.

    Videos lie as KuaiRand's do, see vectors.py. Each user has watched the 50 that suit one of its users best, and the
    towers take their mean, so that users stand to one side as KuaiRand's do: the mean of their vectors is .78 long,
    that of vectors.py's .80. Ids have 60 bits; each video has one of eight regions.
    """
    root = folder / "bundle"
    if (root / "current").is_file():
        return root
    rng = np.random.default_rng(0)
    blocks, users = drawn(LIKE["kuairand"], videos, DIM, USERS)
    vectors = np.concatenate(list(blocks))
    watched = Exact().build(vectors, np.arange(videos), Geometry.cosine).search(users, WINDOW).ids
    dataset = _dataset(folder / "dataset", rng.permuted(watched, axis=1), videos, rng)
    torch.manual_seed(0)
    model = ModelConfig(history=MeanHistory(), dim=DIM, window=WINDOW, popularity=PopularityTerm.none)
    towers = TwoTower(model, dataset.encoders, torch.ones(videos + 2, dtype=torch.bool), torch.ones(USERS + 2).bool())
    with torch.no_grad():
        towers.ids.weight[2:] = torch.from_numpy(vectors)
        towers.video_features.table.weight.zero_()
        for parameter in towers.join[-1].parameters():
            parameter.zero_()
    run = folder / "run"
    save_towers(towers, run / "towers")
    info = {"dataset": str(dataset.folder), "dataset_fingerprint": dataset.fingerprint, "config": {}, "seed": 0}
    write_json(run / "run.json", info | {"best_epoch": 1, "valid": {}})
    publish(PublishConfig(run=str(run), bundle=str(root), index=Auto()))
    return root


def _dataset(folder: Path, watched: np.ndarray, videos: int, rng: np.random.Generator) -> Dataset:
    count = USERS * WINDOW
    columns = {
        "user_row": np.repeat(np.arange(2, USERS + 2, dtype=np.int32), WINDOW),
        "video_row": (watched + 2).astype(np.int32).ravel(),
        "time_ms": 10**12 + np.tile(np.arange(WINDOW) * 60_000, USERS),
        "position": np.arange(count, dtype=np.int32),
        "split": np.zeros(count, np.int8),
        "positive": np.ones(count, bool),
        "weight": np.ones(count, np.float32),
    }
    tables = {
        "events": columns,
        "users": _things("user", rng.permutation(2**60 + 7 * np.arange(USERS))),
        "videos": _things("video", rng.permutation(2**60 + 7 * np.arange(videos)))
        | {"region": pa.array(np.array(REGIONS)[rng.integers(0, len(REGIONS), videos)])},
        "rejected": {"reason": pa.array([], pa.string())},
    }
    folder.mkdir(parents=True)
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    encoders = Encoders(videos=(Encoder("region", Kind.categorical, values=REGIONS),))
    write_json(folder / "encoders.json", encoders.to_json())
    write_json(
        folder / "manifest.json",
        {"schema": 1, "protocol": "made", "repeats": "first", "checksums": {"videos": str(videos)}},
    )
    return Dataset.open(folder)


def _things(kind: str, ids: np.ndarray) -> dict[str, object]:
    rows = np.arange(2, len(ids) + 2, dtype=np.int32)
    return {f"{kind}_row": rows, f"{kind}_id": ids, "known": np.ones(len(ids), bool)}
