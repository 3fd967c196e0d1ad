"""The video tower as requests run it, without torch: vectors of videos that come while a bundle is served."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from towers.data import Encoder, Kind
from towers.data.vocabulary import UNKNOWN_ROW
from towers.features import FeatureTable
from towers.models.arrays import TowerArrays
from towers.models.machine.weights import array
from towers.models.places import pair_of
from towers.types import TowersError

_LEAST = 1e-12
"""Shorter vectors are not brought to length 1, as in torch."""


class BagArrays(NamedTuple):
    """The weights of :class:`towers.models.FeatureBag`.

    Attributes:
        table: Of all codes, [lines, d].
        starts: Where each feature's lines begin, single-valued ones first, [f + bags].
        projections: Of each content vector, [v, d].
        missing: In place of each where there is none, [d].
    """

    table: Float32[np.ndarray, "lines d"]
    starts: Int64[np.ndarray, " features"]
    projections: tuple[Float32[np.ndarray, "_v d"], ...]
    missing: tuple[Float32[np.ndarray, " d"], ...]

    @classmethod
    def of(cls, towers: TowerArrays, prefix: str, encoders: tuple[Encoder, ...]) -> "BagArrays":
        """Return the weights that towers have for features; for none where they read none."""
        weights, encoders = towers.under(prefix), encoders if towers.model["features"] else ()
        single = [each.size for each in encoders if each.kind in {Kind.categorical, Kind.numeric}]
        several = [each.size for each in encoders if each.kind is Kind.multi]
        vectors = range(sum(each.kind is Kind.vector for each in encoders))
        return cls(
            np.asarray(weights["table.weight"]),
            np.cumsum([0, *single, *several])[:-1].astype(np.int64),
            tuple(array(weights[f"projections.{place}.weight"].T) for place in vectors),
            tuple(array(weights[f"missing.{place}"]) for place in vectors),
        )

    def sums(self, features: FeatureTable) -> Float32[np.ndarray, "n d"]:
        """Return the sum of what each thing's features say, [n, d]."""
        out = np.zeros((len(features), self.table.shape[1]), np.float32)
        for place, start in enumerate(self.starts.tolist()):
            if place < len(self.starts) - len(features.bags):
                out += self.table[start + features.codes[:, place]]
                continue
            bag = features.bags[place - (len(self.starts) - len(features.bags))]
            count = (bag > 0).sum(axis=1, keepdims=True)
            amounts = ((bag > 0) + ((np.arange(bag.shape[1]) == 0) & (count == 0))) / np.maximum(count, 1)
            out += np.einsum("nw,nwd->nd", amounts.astype(np.float32), self.table[start + bag])
        for projection, mark, vectors in zip(self.projections, self.missing, features.vectors, strict=True):
            there = vectors.any(axis=1, keepdims=True)
            out += np.where(there, _of_length_1(vectors) @ projection, mark)
        return out


class VideoTower:
    """Gives what :func:`towers.models.video_vectors` gives, for a few videos; threads may share it.

    Args:
        towers: Trained towers, whose weights it shares.
    """

    def __init__(self, towers: TowerArrays) -> None:
        self._towers, self._weights = towers, towers.weights
        self._bag = BagArrays.of(towers, "video_features.", towers.encoders.videos)
        self._reads = towers.reads(towers.encoders.videos)

    def vectors(self, features: FeatureTable) -> Float32[np.ndarray, "n d"]:
        """Return the videos' vectors, [n, d].

        Args:
            features: Of the videos, with the rows that they have in the dataset, 1 where it does not hold them, [n].

        Raises:
            TowersError: A vector is not finite.
        """
        rows = np.arange(len(features)) if features.rows is None else features.rows
        places = places_at(rows, self._weights["known"], self._towers.model["id_buckets"])
        content = self._weights["ids.weight"][places].sum(axis=1)
        if self._reads:
            content += self._bag.sums(features)
        if self._towers.cosine:
            content = _of_length_1(content)
        vectors = np.hstack([content, self._weights["level"][rows, None]]) if self._towers.leans else content
        if len(bad := np.flatnonzero(~np.isfinite(vectors).all(axis=1))):
            raise TowersError(f"the vector of new video {bad[0]} is not finite; the towers' weights are bad")
        return vectors


def places_at(
    rows: Int64[np.ndarray, " n"], known: Bool[np.ndarray, " rows"], buckets: int
) -> Int64[np.ndarray, "n p"]:
    """Return where a table of ids holds what adds up to each row's vector, [n, 1 or 2]; unknown ones share one."""
    kept = np.where(known[rows], rows, UNKNOWN_ROW)
    return np.stack(pair_of(kept, buckets), axis=1) if buckets else kept[:, None]


def _of_length_1(vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(_LEAST))
