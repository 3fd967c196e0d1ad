"""Any sequence of changes, searches, crashes and openings leads to what a dict would hold.

TOWERS_LIVE_EXAMPLES says how many sequences, 10000 in the nightly form.
"""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tests.index.live.worlds import BY_HAND, Truth, begun, best, check, whole
from towers.index import Live, Mask
from towers.index.live.folder import journal_file
from towers.index.live.journal import Change, _record

EXAMPLES = int(os.environ.get("TOWERS_LIVE_EXAMPLES", "200"))
STEPS = 12
pytestmark = pytest.mark.timeout(300 + EXAMPLES)
SHARED = Path("/dev/shm")  # noqa: S108 - a disk in memory
MEMORY = SHARED if SHARED.is_dir() else None
some_ids = st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True).map(lambda ids: np.array(ids, np.int64))
seeds = st.integers(0, 999)


@cache
def fresh() -> tuple[Path, Truth]:
    """A folder that every sequence begins with a copy of."""
    live, truth = begun(Path(tempfile.mkdtemp(dir=MEMORY)) / "live")
    live.close()
    atexit.register(shutil.rmtree, live.folder.parent)
    return live.folder, truth


class Sequence(RuleBasedStateMachine):
    """What is done to an index, and to a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(dir=MEMORY))
        folder, truth = fresh()
        self.truth = dict(truth)
        shutil.copytree(folder, self.place / "0")
        self.live = Live.open(self.place / "0", upkeep=BY_HAND)
        self.times = 0
        self.masks = [Mask(np.arange(41)[np.arange(41) % number == 0]) for number in (2, 3, 20)]

    @rule(ids=some_ids, seed=seeds)
    def put(self, ids: np.ndarray, seed: int) -> None:
        vectors = whole(seed, len(ids))
        new = len(set(ids.tolist()) - set(self.truth))
        assert self.live.put(vectors, ids) == new
        self.truth |= dict(zip(ids.tolist(), vectors, strict=True))
        for mask in self.masks:
            found = self.live.search(vectors[:1], 41, allow=mask).ids[0]
            held = np.array(sorted(self.truth))
            assert set(found[found >= 0].tolist()) == set(held[mask.holds(held)].tolist())

    @rule(times=st.integers(2, 8), seed=seeds)
    def put_often(self, times: int, seed: int) -> None:
        """So often that slots are used up."""
        for more in range(times):
            self.put(np.arange(more % 3, 40), seed + more)

    @rule(ids=some_ids)
    def remove(self, ids: np.ndarray) -> None:
        there = len(set(ids.tolist()) & set(self.truth))
        assert self.live.remove(ids) == there
        for name in ids.tolist():
            self.truth.pop(name, None)

    @rule(seed=seeds, k=st.integers(1, 30), gone=st.lists(some_ids, min_size=3, max_size=3), allow=st.none() | some_ids)
    def search(self, seed: int, k: int, gone: list[np.ndarray], allow: np.ndarray | None) -> None:
        queries = whole(seed, 3)
        found, expected = self.live.search(queries, k, gone, allow), best(self.truth, queries, k, gone, allow)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)

    @rule(seed=seeds, k=st.integers(1, 30), gone=some_ids, which=st.permutations(range(3)), other=some_ids)
    def search_by_masks(self, seed: int, k: int, gone: np.ndarray, which: list[int], other: np.ndarray) -> None:
        """Masks live as long as the sequence: through puts, removes, compactions and openings."""
        one, two, three = (self.masks[place] for place in which)
        ways = (one, ~one, one | three, one & ~two, ~(one | two) | three, two & Mask(other), ~Mask(other) & ~three)
        allow, queries = ways[seed % len(ways)], whole(seed, 3)
        allowed = np.arange(-1, 41)[allow.holds(np.arange(-1, 41))]
        found, expected = (
            self.live.search(queries, k, [gone] * 3, allow),
            best(self.truth, queries, k, [gone] * 3, allowed),
        )
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.scores, expected.scores)

    @rule(recluster=st.booleans())
    def compact(self, recluster: bool) -> None:
        self.live.compact(recluster=recluster)
        assert (self.live.health().recent, self.live.health().tombstones) == (0, 0)

    @rule(write=st.booleans())
    def open_again(self, write: bool) -> None:
        check(Live.open(self.live.folder, write=False), self.truth)
        self.live.close()
        self.live = Live.open(self.live.folder, write=write, upkeep=BY_HAND)
        assert self.live.recovered.lost == 0
        if not write:
            self.open_again(write=True)

    @rule(ids=some_ids, seed=seeds, vectors=st.booleans(), cut=st.floats(0, 1), flip=st.none() | st.floats(0, 0.999))
    def crash(self, ids: np.ndarray, seed: int, vectors: bool, cut: float, flip: float | None) -> None:
        """While a change is written: a part of it stands there, perhaps with a bit that is wrong."""
        self.times += 1
        folder = self.place / str(self.times)
        shutil.copytree(self.live.folder, folder)
        self.live.close()
        change = Change(ids, whole(seed, len(ids)) if vectors else None)
        journal = journal_file(folder, self.live._current.number)
        end = journal.stat().st_size
        record = bytearray(_record(change, end, end))
        if flip is not None:
            record[int(flip * len(record))] ^= 1 << seed % 8
        left = record[: round(cut * len(record))]
        with journal.open("ab") as file:
            file.write(left)
        self.live = Live.open(folder, upkeep=BY_HAND)
        whole_record = len(left) == len(record) and flip is None
        assert self.live.recovered.lost == (0 if whole_record else len(left))
        assert journal.stat().st_size == end + len(left) - self.live.recovered.lost
        if whole_record and change.vectors is not None:
            self.truth |= dict(zip(ids.tolist(), change.vectors, strict=True))
        elif whole_record:
            self.truth = {name: vector for name, vector in self.truth.items() if name not in ids}

    @invariant()
    def all_is_there(self) -> None:
        assert len(self.live) == len(self.truth)

    def teardown(self) -> None:
        check(self.live, self.truth)
        self.live.close()
        check(Live.open(self.live.folder, write=False), self.truth)
        shutil.rmtree(self.place)


def test_any_sequence_leads_to_what_a_dict_would_hold() -> None:
    # No machine loses power here, and waiting for the disk would take most of the time.
    with mock.patch("os.fsync"):
        fresh()
        run = settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
        )
        run_state_machine_as_test(Sequence, settings=run)
