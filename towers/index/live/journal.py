"""The journal of a live index: its changes in the order they were made, readable after a crash at any byte."""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from towers.index.live.folder import replace
from towers.types import DataError, UnwritableError

FORMAT = 1
_TITLE = struct.Struct("<8sII")
_NAME = b"towers-j"
_HEAD = struct.Struct("<4sIQIB3x")
_MARK = b"\x9ewj\xe1"
_PUT, _REMOVE = 1, 2
_CHECKED = 8
"""Where in a head begins what the checksum covers: all but the mark and itself."""


class Change(NamedTuple):
    """One call of put or of remove.

    Attributes:
        ids: Which videos, all different, [m].
        vectors: Their vectors, [m, d]; None removes them.
    """

    ids: Int64[np.ndarray, " m"]
    vectors: Float32[np.ndarray, "m d"] | None


class Content(NamedTuple):
    """What a journal says.

    Attributes:
        changes: Every change, oldest first.
        end: How many bytes they take, with the title.
        lost: How many bytes follow that a crash left unfinished; nothing of them was ever acknowledged.
    """

    changes: list[Change]
    end: int
    lost: int


class Journal:
    """A journal that is appended to.

    A record is a mark, a checksum (CRC-32 of the record's offset and of all that follows), how much of the file was
    surely on disk when the record was written, a count, a kind, ids and vectors. What was surely on disk tells a
    record that a crash left unfinished from one that was damaged later, see `read`.

    Attributes:
        path: The file.
    """

    def __init__(self, path: Path, end: int, *, sync: bool) -> None:
        """Open a journal behind what it holds, `end` bytes; whatever stands there is cut off."""
        self.path, self._wait, self._end, self._on_disk = path, sync, end, end
        self._error: BaseException | None = None
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(end)
        self._file.seek(end)
        os.fsync(self._file.fileno())

    @classmethod
    def create(cls, path: Path, dim: int, *, sync: bool) -> "Journal":
        """Begin a journal of changes of `dim` dimensions."""
        replace(path, _TITLE.pack(_NAME, FORMAT, dim))
        return cls(path, _TITLE.size, sync=sync)

    def append(self, changes: Sequence[Change]) -> None:
        """Write changes, and wait once until all are on disk, unless the journal was opened without sync.

        Raises:
            UnwritableError: The disk refused this, or a change before; nothing more is written until it is opened
                again.
        """
        data = b""
        for change in changes:
            data += _record(change, self._end + len(data), self._on_disk)
        with self.guarded():
            self._write(data)
            self._end += len(data)
        if self._wait:
            self.flush()

    def flush(self) -> None:
        """Wait until all that was appended before is on disk; see append."""
        end = self._end
        with self.guarded():
            os.fsync(self._file.fileno())
        self._on_disk = end

    def close(self) -> None:
        """Flush and close."""
        if not self._file.closed:
            if self._error is None:
                self.flush()
            self._file.close()

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Refuse everything from the first time on that something in here goes wrong.

        After an error of the disk a second fsync may succeed and mean nothing; after any other, what is searched may
        not be what is written.
        """
        if self._error is not None:
            raise UnwritableError(
                f"{self.path} could not be written before ({self._error!r}); mend that and open it again"
            )
        try:
            yield
        except OSError as error:
            self._error = error
            raise UnwritableError(
                f"{self.path} cannot be written ({error}); mend the disk and open the index again"
            ) from error
        except BaseException as error:  # an interrupt, or no memory: nobody knows how far it came
            self._error = error
            raise

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]


def read(path: Path, data: bytes, dim: int) -> Content:
    """Return what a journal says.

    What a crash leaves at the end is no record, or one whose checksum is wrong, and is left out. Behind it there may
    be whole records where the disk wrote them earlier: they too were not acknowledged. But where a record further on
    knows that the bad place was once on disk, the file was damaged after it had been acknowledged.

    Args:
        path: Where it stands, for the words of an error.
        data: What the file holds.
        dim: How many dimensions the vectors must have.

    Raises:
        DataError: No journal, one of another version or dimension, or one that was damaged.
    """
    title = _TITLE.unpack_from(data) if len(data) >= _TITLE.size else None
    if title != (_NAME, FORMAT, dim):
        raise DataError(
            f"{path} begins with {data[: _TITLE.size].hex() or 'nothing'}: no journal of version {FORMAT} and {dim} "
            "dimensions; take it from a copy of the index"
        )
    changes, end = [], _TITLE.size
    while (found := _parsed(data, end, dim)) is not None:
        changes.append(found[0])
        end = found[1]
    place = data.find(_MARK, end + 1)
    while place >= 0:
        later = _parsed(data, place, dim)
        if later is not None and later[2] > end:
            raise DataError(
                f"{path} is damaged at byte {end}: a record from byte {place} on says that this was once on disk, so "
                "something acknowledged is lost; take the index from a copy, or build it anew"
            )
        place = data.find(_MARK, place + 1)
    return Content(changes, end, len(data) - end)


def net(changes: Sequence[Change], dim: int) -> tuple[Change, Change]:
    """Return a removal and a put that together do what many changes do one after the other.

    Example:
        >>> one, two = np.array([1]), np.array([1, 2])
        >>> removal, put = net([Change(two, np.eye(2, dtype=np.float32)), Change(one, None)], 2)
        >>> removal.ids.tolist(), put.ids.tolist(), put.vectors.tolist()
        ([1], [2], [[0.0, 1.0]])
    """
    ids = np.concatenate([np.zeros(0, np.int64), *[change.ids for change in changes]])
    puts = [change.vectors for change in changes if change.vectors is not None]
    vectors = np.concatenate([np.zeros((0, dim), np.float32), *puts])
    is_put = np.repeat([change.vectors is not None for change in changes], [len(change.ids) for change in changes])
    rows = np.where(is_put, np.cumsum(is_put) - 1, -1)
    names, back = np.unique(ids[::-1], return_index=True)
    last = rows[len(ids) - 1 - back] if len(ids) else back
    return Change(names[last < 0], None), Change(names[last >= 0], vectors[last[last >= 0]])


def _record(change: Change, offset: int, on_disk: int) -> bytes:
    ids, vectors = change
    kind, body = (_REMOVE, b"") if vectors is None else (_PUT, vectors.astype("<f4").tobytes())
    record = bytearray(_HEAD.pack(_MARK, 0, on_disk, len(ids), kind) + ids.astype("<i8").tobytes() + body)
    record[len(_MARK) : _CHECKED] = _checksum(memoryview(record)[_CHECKED:], offset)
    return bytes(record)


def _checksum(covered: memoryview, offset: int) -> bytes:
    return zlib.crc32(covered, zlib.crc32(offset.to_bytes(8, "little"))).to_bytes(4, "little")


def _parsed(data: bytes, offset: int, dim: int) -> tuple[Change, int, int] | None:
    """Return the change at an offset, where the next begins, and what was on disk before; None for no whole record."""
    if len(data) < offset + _HEAD.size:
        return None
    mark, _, on_disk, count, kind = _HEAD.unpack_from(data, offset)
    begin = offset + _HEAD.size
    middle = begin + 8 * count
    end = middle + (4 * dim * count if kind == _PUT else 0)
    if mark != _MARK or kind not in {_PUT, _REMOVE} or end > len(data):
        return None
    if _checksum(memoryview(data)[offset + _CHECKED : end], offset) != data[offset + len(_MARK) : offset + _CHECKED]:
        return None
    ids = np.frombuffer(data, "<i8", count, begin).astype(np.int64)
    if kind == _REMOVE:
        return Change(ids, None), end, on_disk
    vectors = np.frombuffer(data, "<f4", dim * count, middle).astype(np.float32).reshape(count, dim)
    return Change(ids, vectors), end, on_disk
