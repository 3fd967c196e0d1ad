"""Makes vectors that lie like those of trained towers, in any number, for measuring searches.

Videos stand in clusters of log-normal size along axes of falling length, all of them moved a little in one direction;
users lie between two clusters each, all of them moved far in another direction, so that some videos are near many. The
numbers in LIKE were fitted to towers that had learned from KuaiRand (7,583 videos) and Gowalla (40,981), d 64, without
the column of popularity, by `python -m benchmarks.neighbourhoods BUNDLE --like NAME --fit 200`; how near they come
stands in benchmarks/README.md. That there are more clusters where there are more videos, as many as their root says,
and that 128 dimensions are like 64, is assumed: no larger catalogue was to be had.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from towers.index import top_k
from towers.serving import Retriever
from towers.types import ConfigError, Geometry

K = 100
AT_ONCE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """What makes vectors lie like those of some towers; lengths are in those of a video's own part.

    Attributes:
        shift: How far all videos are moved.
        crowd: How far all users are moved.
        agree: Cosine between these two moves.
        decay: Axis j is exp(-decay j / d) long.
        clusters: How many for each root of the number of videos.
        tail: Spread of the logarithm of their sizes.
        spread: How far videos are from their cluster's center, in the centers' scale.
        wander: How far users are from what lies between their two clusters, likewise.
    """

    shift: float
    crowd: float
    agree: float
    decay: float
    clusters: float
    tail: float
    spread: float
    wander: float

    @property
    def fingerprint(self) -> str:
        """Eight digits that other numbers would not have: measurements of other vectors are of another question."""
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()[:8]


LIKE = {
    "kuairand": Likeness(
        shift=0.203, crowd=1.338, agree=0.608, decay=3.103, clusters=9.576, tail=1.003, spread=0.911, wander=0.25
    ),
    "gowalla": Likeness(
        shift=0.159, crowd=0.555, agree=0.670, decay=1.243, clusters=5.1, tail=1.639, spread=0.429, wander=0.963
    ),
}


def drawn(
    like: Likeness, n: int, dim: int, users: int, seed: int = 0
) -> tuple[Iterator[Float32[np.ndarray, "b d"]], Float32[np.ndarray, "q d"]]:
    """Return made-up videos, block by block, and users; all of length 1, the same ones every time.

    Args:
        like: Whose vectors they are like.
        n: How many videos.
        dim: How many dimensions.
        users: How many users.
        seed: Another one gives others.

    Example:
        >>> videos, users = drawn(LIKE["kuairand"], 100_000, 8, 3)
        >>> [len(block) for block in videos], users.shape
        ([65536, 34464], (3, 8))
    """
    draw = np.random.default_rng(seed)
    turned = np.linalg.qr(draw.standard_normal((dim, dim)))[0]
    axes = np.exp(-like.decay * np.arange(dim) / dim)
    axes = axes / np.linalg.norm(axes)
    count = max(2, round(like.clusters * n**0.5))
    centers = draw.standard_normal((count, dim))
    sizes = draw.lognormal(0, like.tail, count)
    share = sizes / sizes.sum()
    toward, across = axes, axes * (-1.0) ** np.arange(dim)
    across = across - across @ toward * toward
    crowd = like.agree * toward + (1 - like.agree**2) ** 0.5 * across / np.linalg.norm(across)
    first, second = (centers[draw.choice(count, users, p=share)] for _ in range(2))
    noise = like.wander * dim**0.5 * axes * draw.standard_normal((users, dim))
    own = (first + 0.5 * second + noise) / (1.25 + like.wander**2) ** 0.5
    asking = _unit(((like.crowd * crowd + axes * own) @ turned).astype(np.float32))

    def blocks() -> Iterator[Float32[np.ndarray, "b d"]]:
        base, wide = (like.shift * toward).astype(np.float32), np.float32(like.spread)
        scale = (axes / (1 + like.spread**2) ** 0.5).astype(np.float32)
        middle, matrix = centers.astype(np.float32), turned.astype(np.float32)
        for start in range(0, n, AT_ONCE):
            size = min(AT_ONCE, n - start)
            block = middle[draw.choice(count, size, p=share)] + wide * draw.standard_normal((size, dim), np.float32)
            yield _unit((base + scale * block) @ matrix)

    return blocks(), asking


@dataclass(frozen=True)
class World:
    """Vectors of videos, vectors of users, and the true best of each user.

    Attributes:
        videos: [n, d].
        users: From another distribution than the videos, [q, d].
        others: As many users of the same kind, by whom nothing is measured: an index may be built for them, [o, d].
        best: Each user's best K rows of videos, best first, [q, K].
        geometry: Cosine where all are of length 1.
    """

    videos: Float32[np.ndarray, "n d"]
    users: Float32[np.ndarray, "q d"]
    others: Float32[np.ndarray, "o d"]
    best: Int64[np.ndarray, "q k"]
    geometry: Geometry

    @classmethod
    def open(cls, folder: Path) -> "World":
        """Read a world from a folder; arrays are mapped."""
        names = ("videos", "users", "others", "best")
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in names}
        return cls(**arrays, geometry=Geometry((folder / "geometry").read_text(encoding="utf-8")))


def write_made(folder: Path, like: Likeness, n: int, dim: int, users: int = 1000) -> World:
    """Write a made-up world into a folder, a block at a time, and return it."""
    blocks, asking = drawn(like, n, dim, 2 * users)
    folder.mkdir(parents=True, exist_ok=True)
    videos = np.lib.format.open_memmap(folder / "videos.npy", "w+", np.float32, (n, dim))
    for place, block in enumerate(blocks):
        videos[place * AT_ONCE : place * AT_ONCE + len(block)] = block
    return _settled(folder, videos, (asking[:users], asking[users:]), Geometry.cosine)


def write_bundle(folder: Path, bundle: Path, users: int = 1000) -> World:
    """Write a bundle's videos, and some of its users who have watched something, into a folder, and return it.

    Raises:
        ConfigError: Towers that give each user several vectors.
    """
    retriever = Retriever.open(bundle)
    known = retriever.bundle
    some = np.random.default_rng(0).permutation(np.flatnonzero(known.positives.counts() > 0))[: 2 * users]
    asking = retriever.embed_users(known.users.ids(some))
    if asking.ndim == 3:
        raise ConfigError(f"{bundle} has towers of {asking.shape[1]} interests; give a bundle of towers of one")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "videos.npy", known.vectors[known.index.ids])
    videos = np.load(folder / "videos.npy", mmap_mode="c")
    half = len(asking) // 2
    return _settled(folder, videos, (asking[:half], asking[half:]), known.towers.geometry)


def _settled(
    folder: Path, videos: Float32[np.ndarray, "n d"], asking: tuple[np.ndarray, np.ndarray], geometry: Geometry
) -> World:
    """Write users, others, and the true best of the users; return the world."""
    users, others = asking
    np.save(folder / "users.npy", users)
    np.save(folder / "others.npy", others)
    np.save(folder / "best.npy", top_k(users, videos, K).ids)
    (folder / "geometry").write_text(geometry.value, encoding="utf-8")
    return World.open(folder)


def _unit(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    return np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True))
