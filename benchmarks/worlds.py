"""What trainings are timed on: the train split of a dataset, or a log that is made up."""

from dataclasses import dataclass

import numpy as np

from towers.data import Dataset, Encoders, Positives, Split
from towers.features import FeatureTable, encode_table

MADE = {
    "large": (1_000_000, 2_000_000),
    "videos-20k": (200_000, 20_000),
    "videos-200k": (200_000, 200_000),
    "videos-2m": (200_000, 2_000_000),
}
"""Users and videos of the logs that are made up."""


@dataclass(frozen=True)
class World:
    """What is trained on."""

    positives: Positives
    users: FeatureTable
    videos: FeatureTable
    encoders: Encoders

    @classmethod
    def of(cls, folder: str) -> "World":
        """Return the train split of a dataset."""
        dataset = Dataset.open(folder)
        users = encode_table(dataset.encoders.users, dataset.user_table())
        videos = encode_table(dataset.encoders.videos, dataset.video_table())
        return cls(dataset.positives(Split.train), users, videos, dataset.encoders)

    @classmethod
    def named(cls, name: str, dataset: str | None) -> "World":
        """Return what a name of SETTINGS is measured on."""
        return cls.made_up(*MADE[name]) if name in MADE else cls.of(str(dataset))

    @classmethod
    def made_up(cls, users: int, videos: int, each: int = 50) -> "World":
        """Return a made-up log: as many events of each user, of videos whose popularity falls as 1/rank."""
        rng = np.random.default_rng(0)
        rows = np.exp(rng.random(users * each, np.float32) * np.float32(np.log(videos))).astype(np.int32) + 1
        offsets = np.concatenate([[0, 0], np.arange(0, users * each + 1, each)])
        times = np.arange(users * each)
        positives = Positives(offsets, rows, times, np.ones(users * each, np.float32))
        of_users, of_videos = (FeatureTable(np.zeros((count + 2, 0), np.int32)) for count in (users, videos))
        return cls(positives, of_users, of_videos, Encoders((), ()))
