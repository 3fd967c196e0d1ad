"""Asks whether Gowalla's published split has an order: whether places that stand together belong together.

    python -m benchmarks.order --data ../shared/data

Places have vectors by who visited them in train. `beside` is the mean cosine of places that stand beside each other in
a user's train, `apart` of the same places in a random order. Then the mean cosine of the places of each tenth of a
user's train with the mean of the user's test: of an unordered set all tenths would be alike.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from benchmarks.gowalla import gowalla_lists, in_order
from benchmarks.record import Circumstances, record
from towers.data import Positives
from towers.features import spectral_vectors
from towers.types import peak_mb

LONG = 60
"""Places of a user from which on a tenth of them says something."""
TENTHS = 10


def vectors_of(train: dict[int, list[int]]) -> Float32[np.ndarray, "places d"]:
    """Return a vector of length 1 for each place, 0 for places that nobody visited."""
    places = 1 + max(max(visited) for visited in train.values())
    offsets = np.cumsum([0, *(len(visited) for visited in train.values())])
    rows = np.concatenate([np.array(visited, np.int32) for visited in train.values()])
    log = Positives(offsets, rows, np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32))
    vectors = spectral_vectors(log, places, 128, 0)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def cosines(train: dict[int, list[int]], test: dict[int, list[int]]) -> dict[str, float]:
    """Return the means of the module's description, over the users with many places and a test."""
    vectors, rng = vectors_of(train), np.random.default_rng(0)
    found: dict[str, list[float]] = {}
    for user, visited in train.items():
        ordered, _ = in_order(visited)
        if len(ordered) < LONG or user not in test:
            continue
        places = vectors[ordered]
        later = vectors[[place for place in test[user] if place < len(vectors)]].mean(0)
        mixed = places[rng.permutation(len(places))]
        found.setdefault("beside", []).append(float((places[1:] * places[:-1]).sum(1).mean()))
        found.setdefault("apart", []).append(float((mixed[1:] * mixed[:-1]).sum(1).mean()))
        for number, tenth in enumerate(np.array_split(places @ later, TENTHS), 1):
            found.setdefault(f"tenth {number} with test", []).append(float(tenth.mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the raw data sets")
    folder = Path(parser.parse_args().data) / "gowalla-m1"
    began = time.perf_counter()
    found = cosines(gowalla_lists(folder / "train.txt"), gowalla_lists(folder / "test.txt"))
    rows = [{"what": name, "cosine": f"{value:.4f}"} for name, value in found.items()]
    how = Circumstances(
        command="python -m benchmarks.order", seed=0, seconds=time.perf_counter() - began, peak_mb=peak_mb()
    )
    record("order", rows, how)
    print(", ".join(f"{row['what']} {row['cosine']}" for row in rows))


if __name__ == "__main__":
    main()
