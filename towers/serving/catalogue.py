"""The videos that can be shown: their ids and rows, their vectors, and the search over them."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from towers.data.vocabulary import FIRST_ROW, UNKNOWN_ROW
from towers.index import Searcher
from towers.index.live import Live, living
from towers.publishing import Bundle
from towers.serving.lookup import Id, Ids, Lookup

_FIRST_ROOM = 1024


class Catalogue:
    """The videos of a bundle, as it was published.

    Args:
        bundle: Whose.

    Attributes:
        lookup: Rows of the bundle's ids.
        vectors: Of the bundle's rows, [rows, d].
        index: The search over rows.
        first_new: The first row that came after the bundle.
        has_new: Whether there are such rows.
    """

    index: Searcher

    def __init__(self, bundle: Bundle) -> None:
        self.lookup, self.vectors, self.index = Lookup(bundle.videos), bundle.vectors, bundle.index
        self.first_new, self.has_new = len(self.vectors), False
        # Of numbers the array's own method: it comes after a search, when every step of Python's is far from the core.
        self._ids_of_known = bundle.videos.ids_of_known if bundle.videos.is_string else bundle.videos.by_row.take

    def rows(self, ids: Ids) -> Int64[np.ndarray, " n"]:
        """Return the row of each id, 1 where it is not held, [n].

        Raises:
            DataError: Strings were given for int64 ids, or the other way round.
        """
        return self.lookup.rows(ids)

    def ids_of(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"] | list[str]:
        """Return the ids of rows that must be held."""
        return self._ids_of_known(rows)

    def vectors_of(self, rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Return the vectors of rows, [n, d]."""
        return np.asarray(self.vectors[rows])

    def shows(self, row: int) -> bool:  # noqa: ARG002 - all of a bundle's videos are shown
        """Return whether a row that is held is shown."""
        return True


class LiveCatalogue(Catalogue):
    """The videos of a bundle, those that came since, and not those that went.

    What came has rows after the bundle's, in the order in which it came. It is kept in memory and in a folder of its
    own, which need not survive: whoever keeps the changes puts them again. One thread changes at a time, any number
    read meanwhile.

    Args:
        bundle: What it begins with.
        folder: Where the index lives; a new or empty folder, best on the disk of the bundle.

    Raises:
        ConfigError: The bundle's index is of a kind that cannot live.
    """

    index: Live

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        super().__init__(bundle)
        living(folder, bundle.folder / "index", np.load(bundle.folder / "sample" / "queries.npy"))
        self.index = Live.open(folder, sync=False)
        self._new_rows: dict[Id, int] = {}
        self._new_ids: list[Id] = []
        self._new_vectors = np.empty((_FIRST_ROOM, self.vectors.shape[1]), np.float32)
        self._gone: set[int] = set()
        self._changing = threading.Lock()

    def put(self, ids: Sequence[Id], vectors: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " n"]:
        """Show videos from now on, or others in their place; return their rows, [n].

        Args:
            ids: All different.
            vectors: One for each, [n, d].

        Raises:
            DataError: A vector is not finite.
        """
        rows = self.place(ids, vectors)
        self.show(rows, vectors)
        return rows

    def place(self, ids: Sequence[Id], vectors: Float32[np.ndarray, "n d"]) -> Int64[np.ndarray, " n"]:
        """Give videos rows and vectors, but do not show them yet; see put."""
        with self._changing:
            rows = self.rows(list(ids))
            known = rows != UNKNOWN_ROW
            new = [video for video, there in zip(ids, known, strict=True) if not there]
            rows[~known] = len(self) + np.arange(len(new))
            self._make_room(len(new))
            self._new_vectors[len(self._new_ids) : len(self._new_ids) + len(new)] = vectors[~known]
            later = rows >= self.first_new
            self._new_vectors[rows[known & later] - self.first_new] = vectors[known & later]
            # Mapped so that a page that is written is this process's own.
            self.vectors[rows[known & ~later]] = vectors[known & ~later]
            # Last what leads there: whoever finds an id finds all that belongs to it.
            self.has_new = self.has_new or bool(new)
            self._new_ids += new
            self._new_rows |= dict(zip(new, rows[~known].tolist(), strict=True))
            return rows

    def show(self, rows: Int64[np.ndarray, " n"], vectors: Float32[np.ndarray, "n d"]) -> None:
        """Let searches find videos that were placed; may wait while the index is built anew."""
        self._gone.difference_update(rows.tolist())
        self.index.put(vectors, rows)

    def remove(self, ids: Ids) -> int:
        """Show videos no more; return how many of them were shown."""
        rows = self.rows(ids)
        rows = rows[rows >= FIRST_ROW]
        self._gone.update(rows.tolist())
        return self.index.remove(rows)

    def shows(self, row: int) -> bool:
        """Return whether a row that is held is shown."""
        return row not in self._gone

    def close(self) -> None:
        """Close the index's files; searches still work."""
        self.index.close()

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.first_new + len(self._new_ids)

    def rows(self, ids: Ids) -> Int64[np.ndarray, " n"]:
        """Return the row of each id, 1 where it is not held, [n]; see Catalogue.rows."""
        rows = super().rows(ids)
        if self.has_new:
            for place in np.flatnonzero(rows == UNKNOWN_ROW).tolist():
                video = ids[place]
                rows[place] = self._new_rows.get(video if isinstance(video, str) else int(video), UNKNOWN_ROW)
        return rows

    def ids_of(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"] | list[str]:
        """Return the ids of rows that must be held."""
        if not self.has_new or not len(rows) or rows.max() < self.first_new:
            return super().ids_of(rows)
        found = super().ids_of(np.minimum(rows, self.first_new - 1))
        for place in np.flatnonzero(rows >= self.first_new).tolist():
            found[place] = self._new_ids[rows[place] - self.first_new]
        return found

    def vectors_of(self, rows: Int64[np.ndarray, " n"]) -> Float32[np.ndarray, "n d"]:
        """Return the vectors of rows, [n, d]."""
        vectors = super().vectors_of(np.minimum(rows, self.first_new - 1))
        later = rows >= self.first_new
        vectors[later] = self._new_vectors[rows[later] - self.first_new]
        return vectors

    def _make_room(self, count: int) -> None:
        wanted, room = len(self._new_ids) + count, len(self._new_vectors)
        if wanted > room:
            larger = np.empty((max(wanted, 2 * room), self._new_vectors.shape[1]), np.float32)
            larger[:room] = self._new_vectors
            self._new_vectors = larger
