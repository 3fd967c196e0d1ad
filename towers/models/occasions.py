"""All exposures of a dataset as an engagement head reads them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from towers.data import Dataset, Encoder, Kind, Positives
from towers.features import FeatureTable, context_codes, encode_table
from towers.features.exposures import Exposures, context_code
from towers.features.so_far import SoFar
from towers.models.encode import query_vectors, video_vectors
from towers.models.engagement import Known
from towers.models.two_tower import TwoTower

WIDEST_FEATURE = 64
"""Codes of a feature that the head looks at by itself; of a wider one it knows the values' rates alone."""
HOURS = 25
Values = dict[str, list[str]]
"""Of each declared circumstance the values that were met often enough."""


@dataclass(frozen=True)
class Occasions:
    """A dataset's exposures, what was known by then, and the features of all users and videos.

    Attributes:
        exposures: User by user, oldest first, [n].
        so_far: Statistics of the past of each, [n].
        positives: Of all splits; of these an exposure is told the earlier ones.
        users: Features of every user row.
        videos: Features of every video row.
        encoders: Of the users' and of the videos' features.
    """

    exposures: Exposures
    so_far: SoFar
    positives: Positives
    users: FeatureTable
    videos: FeatureTable
    encoders: tuple[tuple[Encoder, ...], tuple[Encoder, ...]]

    @classmethod
    def of(cls, dataset: Dataset, context: list[str]) -> "Occasions":
        """Read a dataset.

        Raises:
            ConfigError: A column of the context is no circumstance.
            DataError: A column does not exist, or no event has a time.
        """
        exposures = Exposures.of(dataset, context)
        users = encode_table(dataset.encoders.users, dataset.user_table())
        videos = encode_table(dataset.encoders.videos, dataset.video_table())
        encoders = (dataset.encoders.users, dataset.encoders.videos)
        return cls(exposures, SoFar.of(exposures, dataset, videos), dataset.positives(), users, videos, encoders)

    def sizes(self, values: Values) -> list[int]:
        """Return the number of codes of each column of :meth:`known`."""
        users, videos = (_narrow(encoders) for encoders in self.encoders)
        bags = [e.size for e in self.encoders[1] if e.kind is Kind.multi]
        repeated = [size for size, bag in zip(bags, self.videos.bags, strict=True) for _ in range(bag.shape[1])]
        features = [encoder.size for _, encoder in (*users, *videos)] + repeated
        return [*features, HOURS, *(len(met) + 2 for met in values.values())]

    def known(self, values: Values, places: Int64[np.ndarray, " p"]) -> Known:
        """Return what is known of the exposures at these places without the towers; circumstances come last."""
        part = self.exposures.take(places)
        users, videos = ([place for place, _ in _narrow(encoders)] for encoders in self.encoders)
        hour = context_codes(torch.from_numpy(part.time_ms))[:, :1].numpy()
        columns = [
            self.users.codes[part.user_row][:, users],
            self.videos.codes[part.video_row][:, videos],
            *(bag[part.video_row] for bag in self.videos.bags),
            hour,
            *(context_code(part.context[name], met)[:, None] for name, met in values.items()),
        ]
        codes = torch.from_numpy(np.concatenate(columns, axis=1).astype(np.int64))
        return Known(codes, torch.from_numpy(self.so_far.numbers[places]))

    def vectors(
        self, towers: TwoTower, places: Int64[np.ndarray, " p"]
    ) -> tuple[Float32[np.ndarray, "p d"], Float32[np.ndarray, "p d"]]:
        """Return users' vectors at the moment of each exposure, and the videos', [p, d] each.

        Of a user with several vectors it is the one that is nearest to the video.
        """
        part = self.exposures.take(places)
        rows = video_vectors(towers, self.videos)
        requests = part.requests(self.positives, towers.window)
        queries = query_vectors(towers, rows, requests, self.users.take(part.user_row.astype(np.int64)))
        vectors = rows[part.video_row]
        if queries.ndim == 3:
            best = np.einsum("pid,pd->pi", queries, vectors).argmax(axis=1)
            queries = queries[np.arange(len(best)), best]
        return queries, vectors


def _narrow(encoders: tuple[Encoder, ...]) -> list[tuple[int, Encoder]]:
    """Return the single-valued features of few codes, with their column of a :class:`FeatureTable`."""
    single = [encoder for encoder in encoders if encoder.kind in {Kind.categorical, Kind.numeric}]
    return [(place, encoder) for place, encoder in enumerate(single) if encoder.size <= WIDEST_FEATURE]
