"""Who watched what, from either side."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True)
class Watched:
    """Which rows of one side met which of the other, each pair once.

    Attributes:
        offsets: Where each row's begin, [rows + 1].
        column: Numbers on the other side, [n].
    """

    offsets: Int64[np.ndarray, " rows1"]
    column: Int64[np.ndarray, " n"]

    @classmethod
    def of(cls, offsets: Int64[np.ndarray, " rows1"], column: Int64[np.ndarray, " n"], columns: int) -> "Watched":
        """Keep each pair of a list with repetitions once.

        Args:
            offsets: Where each row's numbers begin, [rows + 1].
            column: Numbers on the other side, [n].
            columns: How many there are on the other side.

        Example:
            >>> Watched.of(np.array([0, 3, 4]), np.array([7, 2, 7, 2]), 9).column.tolist()
            [2, 7, 2]
        """
        owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        pairs = np.unique(owner * np.int64(columns) + column)
        counts = np.bincount(pairs // columns, minlength=len(offsets) - 1)
        return cls(np.concatenate([[0], np.cumsum(counts)]), pairs % columns)

    @property
    def owner(self) -> Int64[np.ndarray, " n"]:
        """The row of each pair."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def turned(self, columns: int) -> "Watched":
        """Return the same pairs from the other side.

        Args:
            columns: How many rows the other side has.

        Example:
            >>> turned = Watched(np.array([0, 2, 3]), np.array([0, 2, 2])).turned(3)
            >>> turned.offsets.tolist(), turned.column.tolist()
            ([0, 1, 1, 3], [0, 0, 1])
        """
        counts = np.bincount(self.column, minlength=columns)
        return Watched(np.concatenate([[0], np.cumsum(counts)]), self.owner[np.argsort(self.column, kind="stable")])
