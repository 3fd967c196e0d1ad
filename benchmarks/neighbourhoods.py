"""Says how vectors lie: a bundle's as they are served, the same without popularity, and made-up ones beside them.

    python -m benchmarks.neighbourhoods runs/demo/bundle --like kuairand
    python -m benchmarks.neighbourhoods runs/demo/bundle --like kuairand --fit 200

Rows go to benchmarks/results/neighbourhoods.csv. `--fit` tries so many numbers for benchmarks/vectors.py
at random, prints those that come nearer, and records nothing.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int64

from benchmarks.record import Circumstances, record
from benchmarks.vectors import LIKE, K, Likeness, drawn
from towers.index import top_k
from towers.index.clusters import clustered, number_of_lists
from towers.serving import Retriever
from towers.types import Geometry, peak_mb

RANKS, USERS, SOME, NEAR = (10, 100, 1000), 500, 2000, 10
ORDERS = 5
"""Where lists begin depends on the order of the videos, and with it how many hold a user's best by a twentieth."""
Vectors = Float32[np.ndarray, "n d"]


def neighbourhoods(videos: Vectors, users: Vectors, geometry: Geometry = Geometry.cosine) -> dict[str, float]:
    """Return what decides how hard searches are; see `scores`, `places` and `together` for what each number is.

    Args:
        videos: More than 1,000, [n, d].
        users: Some, [q, d]; of the numbers only those of hubs depend on how many.
        geometry: Of the towers, which decides how lists are made.
    """
    hits = top_k(users, videos, RANKS[-1])
    best, lists = hits.ids[:, :K], number_of_lists(0, len(videos))
    some = np.random.default_rng(0).choice(len(videos), min(SOME, len(videos)), replace=False)
    near = top_k(videos[some], videos, NEAR + 1).ids[:, 1:]
    drawn_up = []
    for seed in range(ORDERS):
        order = np.random.default_rng(seed).permutation(len(videos))
        assigned = np.empty(len(videos), np.int64)
        assigned[order] = clustered(videos[order], lists, geometry)
        drawn_up.append(together(assigned, best, (some, near)))
    found = scores(videos, users, hits.scores) | hubs(best, len(videos)) | directions_of(videos)
    found |= {name: np.mean([each[name] for each in drawn_up]) for name in drawn_up[0]}
    return {name: float(value) for name, value in found.items()}


def scores(videos: Vectors, users: Vectors, best: Float32[np.ndarray, "q 1000"]) -> dict[str, Float64[np.ndarray, ""]]:
    """Return how far a user's best scores stand out, over all users.

    `best score` is by how many standard deviations of the user's scores of all videos the best is above their mean, the
    median; `gap RANK` which part of this way a score of that rank is below the best, the median, and of rank 100 the
    tenth and the ninetieth percentile.
    """
    mean = users @ videos.mean(axis=0)
    square = np.einsum("qd,de,qe->q", users, videos.T @ videos / len(videos), users)
    above = best[:, 0] - mean
    found = {"best score": np.median(above / np.sqrt(square - mean**2))}
    for rank in RANKS:
        gap = (best[:, 0] - best[:, rank - 1]) / above
        found[f"gap {rank}"] = np.median(gap)
        if rank == K:
            found |= {f"gap {rank}, {percent}%": np.percentile(gap, percent) for percent in (10, 90)}
    return found


def hubs(best: Int64[np.ndarray, "q k"], videos: int) -> dict[str, Float64[np.ndarray, ""]]:
    """Return how unevenly videos appear among the users' best hundred.

    `places of 1%` and `places of 10%` is the share of all places that the most frequent 1% and 10% of the videos take,
    `in no list` the share of the videos that appear nowhere.
    """
    times = np.sort(np.bincount(best.ravel(), minlength=videos))[::-1]
    share = times.cumsum() / times.sum()
    taken = {f"places of {percent}%": share[videos * percent // 100 - 1] for percent in (1, 10)}
    return taken | {"in no list": (times == 0).mean()}


def together(
    assigned: Int64[np.ndarray, " n"],
    best: Int64[np.ndarray, "q k"],
    neighbours: tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, "m near"]],
) -> dict[str, Float64[np.ndarray, ""]]:
    """Return how videos stand together in the lists of an index.

    `in one list` is the share of a user's best hundred in the list that has most of them, `lists of 90` how many lists
    hold ninety of them, `near in list` the share of a video's nearest that are in its own; `sizes` is the standard
    deviation of the lists' sizes over their mean.

    Args:
        assigned: Which list each video is in, [n].
        best: The users' best hundred, [q, k].
        neighbours: Some videos, [m], and the nearest of each, [m, near].
    """
    sizes, (some, near) = np.bincount(assigned), neighbours
    held = np.zeros((len(best), len(sizes)), np.int64)
    np.add.at(held, (np.arange(len(best))[:, None], assigned[best]), 1)
    most = -np.sort(-held, axis=1)
    return {
        "in one list": most[:, 0].mean() / best.shape[1],
        "lists of 90": (most.cumsum(axis=1) < 90).sum(axis=1).mean() + 1,
        "near in list": (assigned[near] == assigned[some][:, None]).mean(),
        "sizes": sizes.std() / sizes.mean(),
    }


def directions_of(videos: Vectors) -> dict[str, Float64[np.ndarray, ""]]:
    """Return how many directions vectors fill: (Σλ)² / Σλ² over the eigenvalues of their covariance."""
    values = np.linalg.eigvalsh(np.cov(videos.T))
    return {"directions": values.sum() ** 2 / (values**2).sum()}


def of_bundle(folder: Path) -> tuple[Vectors, Vectors, Geometry]:
    """Return a bundle's videos, USERS of its users with a past, and the geometry that they are served in."""
    retriever = Retriever.open(folder)
    known = retriever.bundle
    some = np.random.default_rng(0).permutation(np.flatnonzero(known.positives.counts() > 0))[:USERS]
    videos = np.asarray(known.vectors[known.index.ids])
    return videos, retriever.embed_users(known.users.ids(some)), known.towers.geometry


def directions(vectors: Vectors, dim: int) -> Vectors:
    """Return vectors of length 1, without what stands behind their first dimensions: popularity."""
    cut = vectors[:, :dim]
    return np.divide(cut, np.linalg.norm(cut, axis=1, keepdims=True))


def made(like: Likeness, n: int, dim: int) -> dict[str, float]:
    """Return how made-up vectors lie."""
    blocks, users = drawn(like, n, dim, USERS)
    return neighbourhoods(np.concatenate(list(blocks)), users)


def apart(wanted: dict[str, float], found: dict[str, float]) -> float:
    """Return how far numbers are from those wanted: the root of the mean square of the logarithms of their ratios."""
    return float(np.sqrt(np.mean([np.log(max(found[name], 1e-3) / wanted[name]) ** 2 for name in wanted])))


def fitted(like: Likeness, wanted: dict[str, float], sizes: tuple[int, int], tries: int) -> Likeness:
    """Return what comes nearest of what a random walk of some tries finds."""
    draw, step = np.random.default_rng(0), 0.5
    best, near = like, apart(wanted, made(like, *sizes))
    for _ in range(tries):
        names = draw.choice(list(vars(like)), 2, replace=False)
        other = replace(
            best, **{name: vars(best)[name] * float(np.exp(step * draw.standard_normal())) for name in names}
        )
        step = max(0.1, 0.985 * step)
        if other.agree < 1 and (distance := apart(wanted, made(other, *sizes))) < near:
            best, near = other, distance
            print(f"{near:.3f} {best}", flush=True)
    return best


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", help="folder that `towers publish` wrote")
    parser.add_argument("--like", choices=list(LIKE), required=True, help="numbers of the made-up vectors beside it")
    parser.add_argument("--dim", type=int, default=64, help="of the vectors, without popularity")
    parser.add_argument("--fit", type=int, default=0, help="how many numbers to try")
    arguments = parser.parse_args()
    began = time.perf_counter()
    videos, users, geometry = of_bundle(Path(arguments.bundle))
    sizes = len(videos), arguments.dim
    real = neighbourhoods(directions(videos, arguments.dim), directions(users, arguments.dim))
    if arguments.fit:
        fitted(LIKE[arguments.like], real, sizes, arguments.fit)
        return
    served, other = neighbourhoods(videos, users, geometry), made(LIKE[arguments.like], *sizes)
    rows = [
        {"like": arguments.like, "videos": len(videos), "what": name}
        | {side: f"{found[name]:.4f}" for side, found in (("served", served), ("real", real), ("made", other))}
        for name in real
    ]
    for row in rows:
        print(row)
    command = f"python -m benchmarks.neighbourhoods BUNDLE --like {arguments.like}"
    seconds = time.perf_counter() - began
    record("neighbourhoods", rows, Circumstances(command=command, seed=0, seconds=seconds, peak_mb=peak_mb()))


if __name__ == "__main__":
    main()
