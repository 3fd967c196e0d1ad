"""The driver's own account: which videos must be there and which not, and what each person has watched."""

import random
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from towers.data import Kind
from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW
from towers.publishing import Bundle
from towers.serving.arrivals import arrived_vectors

Id = int | str
VALUES = 20
"""How many values of a feature are asked for, those that most videos have."""


@dataclass(eq=False)
class Person:
    """Somebody, and what was acknowledged of them.

    Attributes:
        id: What the app calls them.
        row: The bundle's.
        told: Ids of their events.
        watched: (time_ms, video) of the positive ones, oldest first.
    """

    id: Id
    row: int
    told: set[str] = field(default_factory=set)
    watched: list[tuple[int, Id]] = field(default_factory=list)

    def met(self, event_id: str, video: Id, time_ms: int, *, positive: bool) -> None:
        """Note an event that was acknowledged."""
        self.told.add(event_id)
        if positive:
            insort(self.watched, (time_ms, video), key=lambda each: each[0])


class World:
    """What must be true, whatever is killed meanwhile.

    A video that comes, or comes again, gets a row of its own; rows never change, so that what was asked for a while ago
    can be judged later. What has been asked for and is not acknowledged yet is in doubt: it may be seen or not.

    Args:
        bundle: What was there at first.

    Attributes:
        vectors: Of all rows, [room, d].
        alive: Whether a row is to be shown, [room].
        rows: How many rows there are.
        row_of: The newest row of each video.
        first: The bundle's row of each of its videos.
        doubtful: Videos whose change is under way.
        begun: Videos whose change was begun, in order.
        newest: Of each of the bundle's rows the newest of the same video, [rows of the bundle].
        shaky: Videos that came and went again: known until a version is opened anew, and not after.
        lately: What an answer showed of late.
        filters: Features and values to ask for.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.rows = bundle, len(bundle.vectors)
        known = bundle.videos.known
        self.row_of: dict[Id, int] = {video: row for row, video in enumerate(known.tolist(), FIRST_ROW)}
        self.every = list(self.row_of)
        self.vectors, self.alive = np.array(bundle.vectors), np.zeros(self.rows, bool)
        self.alive[FIRST_ROW:] = True
        self.doubtful: set[Id] = set()
        self.begun: list[Id] = []
        self.newest = np.arange(self.rows)
        self.first = dict(self.row_of)
        self.shaky: set[Id] = set()
        self._came: set[Id] = set()
        self.lately: list[Id] = self.every[:100]
        self.users, self.positives = bundle.user_features, bundle.positives
        self._table = bundle.video_table()
        self._encoders = bundle.towers.encoders.videos
        self._suits = _suits(bundle)
        self._new = (f"new {n}" if bundle.videos.is_string else int(max(known)) + 1 + n for n in count())
        often = sorted(self._suits, key=lambda each: -len(self._suits[each]))
        of_feature = {name: [each for each in often if each[0] == name] for name, _ in often}
        self.filters = [each for several in of_feature.values() for each in several[:VALUES]]

    def people(self) -> list[Person]:
        """Return everybody whom the bundle knows, and as many again in a hundred whom it does not."""
        known = self.bundle.users.known.tolist()
        new = range(1, 2 + len(known) // 100)
        strangers = [f"stranger {n}" if self.bundle.users.is_string else int(max(known)) + n for n in new]
        rows = [*range(FIRST_ROW, FIRST_ROW + len(known)), *[UNKNOWN_ROW] * len(strangers)]
        return [Person(who, row) for who, row in zip([*known, *strangers], rows, strict=True)]

    def is_shown(self, video: Id) -> bool:
        """Return whether a video is to be shown."""
        return bool(self.alive[self.row_of[video]])

    def some_shown(self, chance: random.Random) -> Id:
        """Return a video that is to be shown and is not about to change, by even chance one that was shown of late."""
        while True:
            video = chance.choice(self.lately if chance.random() < 0.5 else self.every)
            if video not in self.doubtful and self.is_shown(video):
                return video

    def some_gone(self, chance: random.Random) -> Id | None:
        """Return a video that was removed, None where a few tries find none."""
        for video in chance.choices(self.begun or self.every, k=20):
            if video in self.row_of and video not in self.doubtful and not self.is_shown(video):
                return video
        return None

    def new_id(self) -> Id:
        """Return the id of a video that nobody has met."""
        return next(self._new)

    def features(self, chance: random.Random) -> dict[str, Any]:
        """Return the features of one of the bundle's videos, to be said of another."""
        row = chance.randrange(self._table.num_rows)
        said = {encoder.name: self._table[encoder.name][row].as_py() for encoder in self._encoders}
        return {name: value for name, value in said.items() if value is not None}

    def begin(self, video: Id) -> None:
        """A change is asked for."""
        self.doubtful.add(video)
        self.begun.append(video)

    def put(self, video: Id, features: dict[str, Any]) -> None:
        """It was acknowledged that a video is there."""
        if self.rows == len(self.vectors):  # what is being judged keeps the old arrays
            self.vectors = np.concatenate([self.vectors, np.zeros_like(self.vectors)])
            self.alive = np.concatenate([self.alive, np.zeros_like(self.alive)])
        if video in self.row_of:
            self.alive[self.row_of[video]] = False
        else:
            self.every.append(video)
        self.row_of[video], self.rows = self.rows, self.rows + 1
        self.vectors[self.row_of[video]] = arrived_vectors(self.bundle, self.bundle.videos.rows([video]), [features])[0]
        self.alive[self.row_of[video]] = True
        for name, value in features.items():
            for each in value if isinstance(value, list) else [value]:
                self._suits[name, str(each)].append(self.row_of[video])
        if video in self.first:
            self.newest[self.first[video]] = self.row_of[video]
        self._came.add(video)
        self.shaky.discard(video)
        self.doubtful.discard(video)

    def removed(self, video: Id) -> None:
        """It was acknowledged that a video is gone."""
        self.alive[self.row_of[video]] = False
        if video in self._came:
            self.shaky.add(video)
        self.doubtful.discard(video)

    def rows_of(self, videos: Iterable[Id]) -> np.ndarray:
        """Return the newest row of each video, -1 of one that nobody put, [n]."""
        return np.array([self.row_of.get(video, -1) for video in videos], np.int64)

    def suiting(self, feature: str, value: str) -> np.ndarray:
        """Return the rows of videos that have a value."""
        return np.array(self._suits[feature, value], np.int64)

    def history(self, person: Person, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the newest rows of what somebody has watched, and when, oldest first.

        Args:
            person: Who.
            longest: How much of what they watched since the bundle counts.
        """
        begin, end = self.positives.offsets[person.row : person.row + 2]
        since = person.watched[-longest:]
        rows = [self.newest[self.positives.video_row[begin:end]], self.rows_of(video for _, video in since)]
        when = [self.positives.time_ms[begin:end], np.array([time_ms for time_ms, _ in since], np.int64)]
        both, moments = np.concatenate(rows), np.concatenate(when)
        if not self.bundle.reads_once:
            return both, moments
        first = np.sort(np.unique(both, return_index=True)[1])
        return both[first], moments[first]


def _suits(bundle: Bundle) -> defaultdict[tuple[str, str], list[int]]:
    """Return the rows that have each value of each feature that is a name or a list of names."""
    found, table = defaultdict[tuple[str, str], list[int]](list), bundle.video_table()
    for encoder in bundle.towers.encoders.videos:
        if encoder.kind in {Kind.categorical, Kind.multi}:
            for row, value in enumerate(table[encoder.name].to_pylist(), FIRST_ROW):
                for each in value if isinstance(value, list) else [value]:
                    if each is not None:
                        found[encoder.name, str(each)].append(row)
    return found
