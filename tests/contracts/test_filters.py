"""What every index promises of filters, in any combination, against plain Python: large enough for each way to look."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.test_indexes import check_same, oracle, whole_numbers
from towers.index import Auto, Exact, Hnsw, Index, Ivf, IvfFaiss, IvfPq, IvfRabitq, Live, Mask, Searcher
from towers.types import Geometry

N, APART = 6000, 3
IDS = np.arange(N) * APART


class Living(Index):
    """Half of it is recent, a third of the main part was replaced since."""

    def _build(self, vectors: np.ndarray, ids: np.ndarray, geometry: Geometry, _queries: np.ndarray | None) -> Searcher:
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder)
        live = Live.create(folder, vectors[::2], ids[::2], geometry, Ivf(nlist=20, nprobe=20))
        with live:
            live.put(vectors[1::2], ids[1::2])
            live.put(-vectors[::3], ids[::3])
            live.put(vectors[::3], ids[::3])
            live.remove(np.array([1, 2]))
        return live


THOROUGH: dict[str, Index] = {
    "exact": Exact(),
    "ivf": Ivf(nlist=20, nprobe=20),
    "ivf_reach": Ivf(nlist=20, reach=90.0),
    "ivf_faiss": IvfFaiss(nlist=4, nprobe=4),
    "live": Living(),
}
HASTY: dict[str, Index] = {
    "ivf": Ivf(),
    "ivf_one": Ivf(nlist=60, nprobe=1),
    "auto": Auto(),
    "hnsw": Hnsw(ef=20),
    "ivf_faiss": IvfFaiss(nlist=40, nprobe=1),
    "ivf_pq": IvfPq(nlist=40, nprobe=1, factor=1.0),
    "ivf_rabitq": IvfRabitq(nlist=40, nprobe=1, factor=1.0),
}
VECTORS = whole_numbers(0, N, 9)


@cache
def thorough(name: str) -> Searcher:
    return THOROUGH[name].build(VECTORS, IDS, Geometry.dot)


@cache
def hasty(name: str) -> Searcher:
    return HASTY[name].build(VECTORS, IDS, Geometry.dot)


# Of a few, some and most ids, of those near each other in space, and of those that nobody has.
LEAVES = [
    IDS[np.random.default_rng(place).permutation(N)[:count]] for place, count in enumerate((3, 150, 2500, 4000, 5900))
]
LEAVES += [IDS[np.argsort(-VECTORS[:, 0], kind="stable")[:count]] for count in (900, 3000)]
LEAVES += [IDS + 1, np.concatenate([IDS[:2100] + 1, IDS[:40]])]
KEPT = [Mask(ids) for ids in LEAVES]
places = st.integers(0, len(LEAVES) - 1)


@st.composite
def allows(draw: st.DrawFn) -> tuple[Mask | np.ndarray | None, np.ndarray]:
    """An allow-list or a mask, kept or new, and the ids that it leaves."""
    way, one, two, three = draw(st.integers(0, 6)), *(draw(places) for _ in range(3))
    a, b, c = (np.isin(IDS, LEAVES[place]) for place in (one, two, three))
    left, right, last = KEPT[one], KEPT[two], Mask(LEAVES[three])
    found, truth = [
        (None, np.ones(N, bool)),
        (LEAVES[one], a),
        (left, a),
        (~left, ~a),
        (left & ~right | last, a & ~b | c),
        (~(left | right) & last, ~(a | b) & c),
        (Mask.all_of([left, right, ~last]), a & b & ~c),
    ][way]
    return found, IDS[truth]


excludes = st.lists(st.sampled_from([0, 4, 300, 5000, N]), min_size=3, max_size=3)
depths = st.sampled_from([1, 7, 100, 700])


@settings(deadline=None, max_examples=25)
@given(allow=allows(), sizes=excludes, k=depths, seed=st.integers(0, 99), same=st.booleans())
@pytest.mark.parametrize("name", THOROUGH)
def test_filters_equal_the_oracle(
    name: str, allow: tuple[Mask | np.ndarray | None, np.ndarray], sizes: list[int], k: int, seed: int, same: bool
) -> None:
    given_, allowed = allow
    queries, draw = whole_numbers(seed, 3, 9), np.random.default_rng(seed)
    exclude = [draw.choice(IDS, size, replace=False) for size in sizes]
    exclude = [exclude[0]] * 3 if same else exclude
    expected = oracle(queries, VECTORS, IDS, k, exclude, allowed)
    check_same(thorough(name).search(queries, k, exclude, given_), expected)


@settings(deadline=None, max_examples=25)
@given(allow=allows(), size=st.sampled_from([0, 4, 300, 5000]), k=depths, seed=st.integers(0, 99))
@pytest.mark.parametrize("name", HASTY)
def test_a_hasty_search_gives_all_that_may_be_given_up_to_k(
    name: str, allow: tuple[Mask | np.ndarray | None, np.ndarray], size: int, k: int, seed: int
) -> None:
    given_, allowed = allow
    gone = np.random.default_rng(seed).choice(IDS, size, replace=False)
    hits = hasty(name).search(whole_numbers(seed, 2, 9), k, [gone, IDS[:0]], given_)
    for row, left in enumerate((np.setdiff1d(allowed, gone), allowed)):
        found = hits.ids[row, : hits.found[row]]
        assert len(found) == min(k, len(left))
        assert len(set(found.tolist())) == len(found)
        assert np.isin(found, left).all()


def test_what_comes_later_is_not_in_a_mask_but_in_what_it_leaves(tmp_path: Path) -> None:
    mask = Mask(IDS[:10])
    with Live.create(tmp_path / "live", VECTORS[:20], IDS[:20], Geometry.dot) as live:
        query = VECTORS[:1]
        assert set(live.search(query, 30, allow=~mask).ids[0]) == {*IDS[10:20], -1}
        live.put(VECTORS[20:22], IDS[20:22])
        assert set(live.search(query, 30, allow=~mask).ids[0]) == {*IDS[10:22], -1}
        assert set(live.search(query, 30, allow=mask).ids[0]) == {*IDS[:10], -1}
        live.remove(IDS[5:15])
        live.compact()
        live.put(VECTORS[5:7], IDS[5:7])
        assert set(live.search(query, 30, allow=~mask).ids[0]) == {*IDS[15:22], -1}
        assert set(live.search(query, 30, allow=mask).ids[0]) == {*IDS[:7], -1}
        live.put(VECTORS[7:12], IDS[7:12])
        assert set(live.search(query, 30, allow=~mask).ids[0]) == {*IDS[10:12], *IDS[15:22], -1}
        assert set(live.search(query, 30, allow=mask).ids[0]) == {*IDS[:10], -1}


def test_users_of_several_queries_are_given_what_a_mask_holds() -> None:
    queries = whole_numbers(2, 6, 9).reshape(2, 3, -1)
    searcher, gone = thorough("ivf"), IDS[:3000]
    found = searcher.search(queries, 50, [gone, gone[:5]], KEPT[2] & ~KEPT[1])
    allowed = np.setdiff1d(LEAVES[2], LEAVES[1])
    scores = np.einsum("qid,nd->qin", queries, VECTORS).max(axis=1)
    for row, hidden in enumerate((gone, gone[:5])):
        left = np.isin(IDS, allowed) & ~np.isin(IDS, hidden)
        best = np.flatnonzero(left)[np.argsort(-scores[row, left], kind="stable")[:50]]
        assert found.ids[row].tolist() == IDS[best].tolist()
