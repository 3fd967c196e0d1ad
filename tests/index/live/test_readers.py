"""Searches beside a writer see whole calls, never a video twice, never one that was gone before they began."""

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.index.live.worlds import BY_HAND, D, begun, whole
from towers.index import Live, Upkeep
from towers.types import Geometry

PAIRS, WRITES = 40, 600
VERSION = np.array([[1, 0, 0, 0]], np.float32)


def versions_of(pair: int, version: int) -> np.ndarray:
    """Two vectors whose first number, and so their score, is a version."""
    vectors = np.zeros((2, D), np.float32)
    vectors[:, 0], vectors[:, 1] = version, pair
    return vectors


class Watched:
    """A live index of pairs of videos that change together, and what was written and acknowledged of each."""

    def __init__(self, folder: Path) -> None:
        vectors = np.concatenate([versions_of(pair, 1) for pair in range(PAIRS)])
        Live.create(folder, vectors, np.arange(2 * PAIRS), Geometry.dot).close()
        # Main parts are built again and again meanwhile.
        self.live = Live.open(folder, sync=False, upkeep=Upkeep(recent=0.0, at_least=60))
        self.begun, self.done = [1] * PAIRS, [1] * PAIRS
        self.over = threading.Event()

    def write(self) -> None:
        random = np.random.default_rng(0)
        for version in range(2, WRITES + 2):
            pair = int(random.integers(PAIRS))
            ids = np.array([2 * pair, 2 * pair + 1])
            self.begun[pair] = version if version % 5 else -version
            if version % 5:
                self.live.put(versions_of(pair, version), ids)
            else:
                self.live.remove(ids)
            self.done[pair] = self.begun[pair]
        self.over.set()

    def read(self) -> int:
        searches = 0
        excluded = [np.array([0, 1])]
        while not self.over.is_set() or searches < 20:
            before = list(self.done)
            hits = self.live.search(VERSION, 3 * PAIRS, excluded)
            after = list(self.begun)
            found = dict(zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True))
            assert hits.found[0] == len(found) - (-1 in found), "an id came twice"
            assert 0 not in found
            assert 1 not in found
            for pair in range(1, PAIRS):
                one, two = found.get(2 * pair), found.get(2 * pair + 1)
                assert one == two, "half a call was seen"
                if one is None:
                    # It was removed: then, or by a call that had been begun.
                    assert before[pair] < 0 or after[pair] != before[pair]
                else:
                    assert before[pair] <= one <= abs(after[pair]), "an old vector was found"
                    assert one > -before[pair], "a removed video was found"
            searches += 1
        return searches


def test_searches_beside_a_writer_see_whole_calls_in_their_order(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "live")
    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(watched.read) for _ in range(3)]
        threads.submit(watched.write).result()
        assert all(reader.result() >= 20 for reader in readers)
    watched.live.close()
    assert watched.live._current.number > 1
    alive = [2 * pair + of for pair in range(PAIRS) for of in (0, 1) if watched.done[pair] > 0]
    assert watched.live.ids.tolist() == alive
    assert Live.open(tmp_path / "live", write=False).ids.tolist() == alive


class Counted(deque[Any]):
    """A queue that says when something has come."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Semaphore(0)

    def append(self, item: Any) -> None:  # noqa: ANN401
        super().append(item)
        self.came.release()


def test_writers_at_once_share_a_wait_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, _ = begun(tmp_path / "live")
    live._current._waiting = queue = Counted()
    first, go, waits = threading.Event(), threading.Event(), []

    def slow(handle: int) -> None:
        waits.append(handle)
        first.set()
        assert go.wait(60)

    monkeypatch.setattr("os.fsync", slow)
    vectors = whole(0, 6)
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(live.put, vectors[:1], np.array([1000]))]
        assert first.wait(60)
        calls += [threads.submit(live.put, vectors[row : row + 1], np.array([1000 + row])) for row in range(1, 6)]
        for _ in range(6):
            assert queue.came.acquire(timeout=60)
        go.set()
        assert [call.result() for call in calls] == [1] * 6
    assert len(waits) == 2
    monkeypatch.undo()
    live.close()
    with Live.open(tmp_path / "live", upkeep=BY_HAND) as again:
        assert again.recovered.changes == 6
        assert again.ids[-6:].tolist() == [1000, 1001, 1002, 1003, 1004, 1005]
