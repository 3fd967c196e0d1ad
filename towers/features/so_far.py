"""What was known of a user and a video when one was shown to the other: counts of the past, never of the moment."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from towers.data import TIME_UNKNOWN, Dataset, Kind, Split
from towers.features.exposures import Exposures, as_text, context_code, context_values, finite, first_of_moment
from towers.features.table import FeatureTable
from towers.types import DAY_MS

RECENT = (1, 5, 20)
"""How many of a user's last exposures are looked at by themselves."""
USER_PRIORS, VIDEO_PRIORS, CROSS_PRIOR = (1, 4, 10), (3, 10, 30), 3


@dataclass(frozen=True)
class SoFar:
    """Numbers about exposures, each counted over what happened strictly before.

    Of a user everything before the moment counts, of videos and their features everything before the day, where days
    begin at the time of the first exposure: the one is part of a request, the other what a nightly job can know.

    Attributes:
        names: What each number is.
        numbers: Finite, [n, m].
        user_rate: The user's smoothed share of liked exposures, [n].
        video_rate: The video's, [n].
        base_rate: That of all exposures on earlier days, [n].
    """

    names: list[str]
    numbers: Float32[np.ndarray, "n m"]
    user_rate: Float64[np.ndarray, " n"]
    video_rate: Float64[np.ndarray, " n"]
    base_rate: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, exposures: Exposures, dataset: Dataset, videos: FeatureTable) -> "SoFar":
        """Count.

        Args:
            exposures: All of the dataset, as `Exposures.of` gives them.
            dataset: For the positives of unknown time, which lie before all exposures.
            videos: Features of every video row.
        """
        day = (exposures.time_ms - exposures.time_ms.min()) // DAY_MS
        total, liked = so_far(np.zeros(len(exposures), np.int64), day, exposures.liked)
        base = (liked + 0.5) / (total + 1)
        past = _Past(exposures, day, base)
        found: dict[str, np.ndarray] = {}
        user_rate = past.of_user(found)
        video_rate = past.of_video(found, _untimed(dataset))
        for name, code in _values_of(exposures, dataset, videos).items():
            if not name.startswith("context "):
                total, liked = so_far(code, day, exposures.liked)
                found[f"rate of {name}"] = logit((liked + 20 * base) / (total + 20))
            own = exposures.user_row.astype(np.int64) * (code.max() + 1) + code
            total, liked = so_far(own, exposures.time_ms, exposures.liked)
            found[f"user's rate of {name}"] = logit((liked + CROSS_PRIOR * user_rate) / (total + CROSS_PRIOR))
            found[f"user's exposures of {name}"] = past.a_day(total)
        names = list(found)
        numbers = np.stack([found[name] for name in names], axis=1).astype(np.float32)
        return cls(names, finite(numbers, names), user_rate, video_rate, base)


def so_far(
    key: Int64[np.ndarray, " n"], moment: Int64[np.ndarray, " n"], liked: Bool[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]:
    """Return how many exposures of the same key came at a strictly earlier moment, and how many of them were liked.

    Example:
        >>> total, liked = so_far(np.array([7, 7, 7, 8]), np.array([1, 1, 2, 3]), np.array([True, False, True, True]))
        >>> total.tolist(), liked.tolist()
        ([0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 1.0, 0.0])
    """
    order = np.lexsort((moment, key))
    sorted_key, sorted_moment, place = key[order], moment[order], np.arange(len(key))
    other_key = np.ones(len(key), bool)
    other_key[1:] = sorted_key[1:] != sorted_key[:-1]
    later = other_key.copy()
    later[1:] |= sorted_moment[1:] != sorted_moment[:-1]
    begin = np.maximum.accumulate(np.where(other_key, place, 0))
    now = np.maximum.accumulate(np.where(later, place, 0))
    counted = np.concatenate([[0], np.cumsum(liked[order])])
    total, good = np.empty(len(key)), np.empty(len(key))
    total[order], good[order] = now - begin, counted[now] - counted[begin]
    return total, good


def logit(share: np.ndarray) -> np.ndarray:
    """Return log odds."""
    return np.log(share) - np.log1p(-share)


@dataclass(frozen=True)
class _Past:
    """Exposures, the day of each, counted from the first, and what share of those on earlier days was liked, [n]."""

    exposures: Exposures
    day: Int64[np.ndarray, " n"]
    base: Float64[np.ndarray, " n"]

    def a_day(self, total: np.ndarray) -> np.ndarray:
        """Return a count as the log of how many there were a day: a bare count would tell the date."""
        return np.log1p(total / (self.day + 1))

    def of_user(self, found: dict[str, np.ndarray]) -> Float64[np.ndarray, " n"]:
        """Add what is known of the user at the moment; return their smoothed rate."""
        exposures, base = self.exposures, self.base
        user, time_ms = exposures.user_row.astype(np.int64), exposures.time_ms
        total, liked = so_far(user, time_ms, exposures.liked)
        for prior in USER_PRIORS:
            found[f"user's rate, prior {prior}"] = logit((liked + prior * base) / (total + prior))
        found["user's exposures"], found["user's positives"] = self.a_day(total), np.log1p(exposures.watched)
        first, begin = first_of_moment(user, time_ms), np.searchsorted(user, user)
        counted = np.concatenate([[0], np.cumsum(exposures.liked)])
        for last in RECENT:
            since = np.maximum(first - last, begin)
            found[f"rate of user's last {last}"] = (counted[first] - counted[since] + base) / (first - since + 1)
        gap = np.where(total > 0, (time_ms - time_ms[np.maximum(first - 1, 0)]) / 1000, 0)
        found["user's pause"] = np.log1p(gap)
        today, liked_today = so_far(user * (self.day.max() + 1) + self.day, time_ms, exposures.liked)
        found["user's exposures today"] = np.log1p(today)
        found["user's rate today"] = logit((liked_today + 4 * base) / (today + 4))
        middle = USER_PRIORS[1]
        return (liked + middle * base) / (total + middle)

    def of_video(self, found: dict[str, np.ndarray], untimed: np.ndarray) -> Float64[np.ndarray, " n"]:
        """Add what is known of the video when the day begins; return its smoothed rate."""
        video, base = self.exposures.video_row.astype(np.int64), self.base
        total, liked = so_far(video, self.day, self.exposures.liked)
        for prior in VIDEO_PRIORS:
            found[f"video's rate, prior {prior}"] = logit((liked + prior * base) / (total + prior))
        popular = liked + untimed[video]
        found["video's exposures"], found["video's positives"] = self.a_day(total), np.log1p(popular)
        middle = VIDEO_PRIORS[1]
        return (liked + middle * base) / (total + middle)


def _untimed(dataset: Dataset) -> Int64[np.ndarray, " rows"]:
    """Count each video's positives of unknown time in train, [rows]; elsewhere they may be what is asked for."""
    positives = dataset.positives(Split.train)
    unknown = positives.time_ms == TIME_UNKNOWN
    return np.bincount(positives.video_row[unknown], minlength=len(dataset.videos))


def _values_of(exposures: Exposures, dataset: Dataset, videos: FeatureTable) -> dict[str, Int64[np.ndarray, " n"]]:
    """Return, by name, which value of each feature of videos, and of each circumstance, an exposure has."""
    encoders = dataset.encoders.videos
    single = [e.name for e in encoders if e.kind in {Kind.categorical, Kind.numeric}]
    several = [e.name for e in encoders if e.kind is Kind.multi]
    found = {name: videos.codes[exposures.video_row, place] for place, name in enumerate(single)}
    found |= {name: bag[exposures.video_row, 0] for name, bag in zip(several, videos.bags, strict=True)}
    for name, texts in exposures.context.items():
        found[f"context {name}"] = context_code(texts, context_values(as_text(texts), 1, len(texts)))
    return {name: code.astype(np.int64) for name, code in found.items()}
