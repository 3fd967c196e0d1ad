"""What is known of users when they ask."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64

from towers.data import TIME_UNKNOWN
from towers.features.windows import pad_histories


@dataclass(frozen=True)
class Requests:
    """Users' histories, and the moments at which they ask.

    Attributes:
        history: Video rows, oldest first, padded with 0 on the right, [q, h].
        history_ms: When each was watched, UTC, [q, h]; TIME_UNKNOWN where that is not known, and in padding.
        asked_ms: When each user asks, UTC, [q]; TIME_UNKNOWN where that is not known.
    """

    history: Int64[np.ndarray, "q h"]
    history_ms: Int64[np.ndarray, "q h"]
    asked_ms: Int64[np.ndarray, " q"]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.history)

    @classmethod
    def of(
        cls,
        offsets: Int64[np.ndarray, " users_1"],
        rows: Int32[np.ndarray, " n"],
        time_ms: Int64[np.ndarray, " n"],
        users: Int64[np.ndarray, " q"],
        length: int,
    ) -> "Requests":
        """Return requests at an unknown moment with the last `length` events of each user.

        Args:
            offsets: Where each user's events begin, [users + 1].
            rows: Video rows, oldest first within a user, [n].
            time_ms: When each was watched, UTC, [n].
            users: Who asks, [q].
            length: At most this many events, the newest.

        Example:
            >>> rows, times = np.array([5, 6, 8], np.int32), np.array([10, 20, 30])
            >>> two = Requests.of(np.array([0, 2, 3]), rows, times, np.array([0, 1]), 50)
            >>> two.history.tolist(), two.history_ms[0].tolist()
            ([[5, 6], [8, 0]], [10, 20])
        """
        history_ms = pad_histories(offsets, time_ms, users, length, TIME_UNKNOWN)
        return cls(pad_histories(offsets, rows, users, length), history_ms, np.full(len(users), TIME_UNKNOWN))

    @classmethod
    def without_times(cls, history: Int64[np.ndarray, "q h"]) -> "Requests":
        """Return requests of which no time is known."""
        return cls(history, np.full(history.shape, TIME_UNKNOWN), np.full(len(history), TIME_UNKNOWN))

    def take(self, places: Int64[np.ndarray, " p"]) -> "Requests":
        """Return the requests at these places, in this order."""
        return Requests(self.history[places], self.history_ms[places], self.asked_ms[places])
