"""What every index promises, set so that it looks everywhere, against a numpy oracle."""

import atexit
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.index import (
    INDEXES,
    Auto,
    Exact,
    Hnsw,
    Index,
    Ivf,
    IvfFaiss,
    IvfPq,
    IvfRabitq,
    Live,
    Searcher,
    load_index,
)
from towers.types import ConfigError, DataError, Geometry, Hits

N, D = 240, 8


class Living(Index):
    """A live index whose main part holds every other vector; what it says of the rest was changed since."""

    def _build(self, vectors: np.ndarray, ids: np.ndarray, geometry: Geometry, _queries: np.ndarray | None) -> Searcher:
        index = Ivf(nlist=2 if len(ids) > 1 else 0, nprobe=2)
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder)
        live = Live.create(folder, vectors[::2], ids[::2], geometry, index)
        with live:
            live.put(vectors[1::2], ids[1::2])
            live.put(vectors[::-1][:50], ids[::-1][:50])
            live.remove(ids[:20])
            live.put(vectors[:20], ids[:20])
        return live


# Approximate kinds look into every list here, so that the one oracle holds for all.
VARIANTS: dict[str, Index] = {
    "exact": Exact(),
    "ivf": Ivf(nlist=4, nprobe=4),
    "hnsw": Hnsw(factor=float(N)),
    "ivf_faiss": IvfFaiss(nlist=4, nprobe=4),
    "ivf_pq": IvfPq(nlist=4, nprobe=4, factor=float(N)),
    "ivf_rabitq": IvfRabitq(nlist=4, nprobe=4, factor=float(N)),
    "live": Living(),
    "auto": Auto(),
}


def test_every_variant_is_under_contract() -> None:
    assert {type(variant) for variant in VARIANTS.values()} - {Living} == set(INDEXES.values())


def whole_numbers(seed: int, n: int, spread: int = 3) -> np.ndarray:
    """Whole numbers are exact in float32 and fp16, so equal scores are equal bit for bit."""
    return np.random.default_rng(seed).integers(-spread, spread + 1, (n, D)).astype(np.float32)


def directions(seed: int, n: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, D))
    return np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def oracle(
    queries: np.ndarray, vectors: np.ndarray, ids: np.ndarray, k: int, exclude: list[np.ndarray], allow: np.ndarray
) -> Hits:
    order = np.argsort(ids)
    vectors, ids = vectors[order], ids[order]
    scores = queries @ vectors.T
    for row, gone in enumerate(exclude):
        scores[row, np.isin(ids, gone)] = -np.inf
    scores[:, ~np.isin(ids, allow)] = -np.inf
    scores = np.pad(scores, ((0, 0), (0, k)), constant_values=-np.inf)
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, best, axis=1)
    return Hits(np.where(np.isfinite(scores), np.pad(ids, (0, k))[best], -1), scores)


def check_same(found: Hits, expected: Hits) -> None:
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.fixture(params=VARIANTS)
def index(request: pytest.FixtureRequest) -> Index:
    return VARIANTS[request.param]


@pytest.fixture
def searcher(index: Index) -> Searcher:
    return index.build(whole_numbers(0, N), np.arange(N) * 3 + 2**60, Geometry.dot)


@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 1000), k=st.sampled_from([1, 7, 100, N, N + 9]), spread=st.sampled_from([1, 3, 9]))
@pytest.mark.parametrize("name", VARIANTS)
def test_equals_the_oracle(name: str, seed: int, k: int, spread: int) -> None:
    random = np.random.default_rng(seed)
    vectors, queries = whole_numbers(seed, N, spread), whole_numbers(seed + 1, 3)
    ids = random.permutation(N * 2)[:N] + 2**53
    exclude = [random.choice(ids, size) for size in (0, 5, random.integers(0, N))]
    allow = random.choice(ids, random.choice([N, N // 2, 20]), replace=False)
    searcher = VARIANTS[name].build(vectors, ids, Geometry.dot)
    nothing = [ids[:0]] * 3
    check_same(searcher.search(queries, k), oracle(queries, vectors, ids, k, nothing, ids))
    check_same(searcher.search(queries, k, exclude), oracle(queries, vectors, ids, k, exclude, ids))
    check_same(searcher.search(queries, k, exclude, allow), oracle(queries, vectors, ids, k, exclude, allow))


def test_unit_vectors_are_found_in_the_oracles_order(index: Index) -> None:
    vectors, queries = directions(0, N), directions(1, 20)
    hits = index.build(vectors, np.arange(N), Geometry.cosine).search(queries, 10)
    expected = oracle(queries, vectors, np.arange(N), 10, [], np.arange(N))
    np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(hits.ids, expected.ids)


def test_lengths_that_differ_a_lot_change_nothing_in_dot_geometry(index: Index) -> None:
    lengths = np.exp(np.random.default_rng(3).normal(0, 2, (N, 1)))
    vectors, queries = (directions(0, N) * lengths).astype(np.float32), directions(1, 20)
    hits = index.build(vectors, np.arange(N), Geometry.dot).search(queries, 10)
    expected = oracle(queries, vectors, np.arange(N), 10, [], np.arange(N))
    np.testing.assert_allclose(hits.scores, expected.scores, rtol=1e-5)
    np.testing.assert_array_equal(hits.ids, expected.ids)


def test_all_vectors_equal_gives_the_lowest_ids(index: Index) -> None:
    hits = index.build(np.ones((N, D), np.float32), np.arange(N)[::-1].copy(), Geometry.dot)
    assert hits.search(np.ones((1, D), np.float32), 4).ids.tolist() == [[0, 1, 2, 3]]


def test_a_query_that_likes_all_alike_gets_the_lowest_ids(searcher: Searcher) -> None:
    hits = searcher.search(np.zeros((1, D), np.float32), 4)
    assert hits.ids.tolist() == [searcher.ids[:4].tolist()]


def test_a_batch_is_its_rows_one_by_one(searcher: Searcher) -> None:
    queries = whole_numbers(5, 9)
    exclude = [searcher.ids[row : row * 7] for row in range(9)]
    whole = searcher.search(queries, 12, exclude)
    for row in range(9):
        single = searcher.search(queries[row : row + 1], 12, exclude[row : row + 1])
        check_same(single, Hits(whole.ids[row : row + 1], whole.scores[row : row + 1]))


def test_saved_and_loaded_it_answers_the_same(searcher: Searcher, tmp_path: Path) -> None:
    queries = whole_numbers(6, 9)
    searcher.save(tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert (type(loaded), loaded.geometry, loaded.why) == (type(searcher), searcher.geometry, searcher.why)
    exclude = [searcher.ids[:50]] * 9
    check_same(loaded.search(queries, 30, exclude), searcher.search(queries, 30, exclude))


def test_what_may_not_be_returned_never_is(searcher: Searcher) -> None:
    hits = searcher.search(whole_numbers(7, 2), N, [searcher.ids[10:], searcher.ids], allow=searcher.ids[:12])
    assert set(hits.ids[0]) == {*searcher.ids[:10], -1}
    assert hits.found.tolist() == [10, 0]
    assert np.isneginf(hits.scores[1]).all()


def test_ids_that_the_index_lacks_change_nothing(searcher: Searcher) -> None:
    queries, gone = whole_numbers(8, 1), np.array([0, 2**60 + 1, 2**62])
    check_same(searcher.search(queries, 5, [gone], np.append(searcher.ids, gone)), searcher.search(queries, 5))


def test_an_empty_index_finds_nothing(index: Index) -> None:
    empty = index.build(np.empty((0, D), np.float32), np.empty(0, np.int64), Geometry.cosine)
    hits = empty.search(directions(0, 2), 3, [np.array([5])] * 2)
    assert (hits.ids == -1).all()
    assert hits.ids.shape == (2, 3)


def test_no_queries_give_no_hits(searcher: Searcher) -> None:
    assert searcher.search(np.empty((0, D), np.float32), 3).ids.shape == (0, 3)


def test_wrong_dimensions_name_both_numbers(searcher: Searcher) -> None:
    with pytest.raises(DataError, match="queries have 5 dimensions, the index has 8"):
        searcher.search(np.ones((1, 5), np.float32), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_named(index: Index, searcher: Searcher, bad: float) -> None:
    vectors = whole_numbers(0, N)
    vectors[17, 2] = bad
    with pytest.raises(DataError, match="row 17 of vectors is not finite"):
        index.build(vectors, np.arange(N), Geometry.dot)
    with pytest.raises(DataError, match="row 17 of queries is not finite"):
        searcher.search(vectors, 1)


def test_queries_to_measure_by_change_no_answer(index: Index) -> None:
    vectors, asking = whole_numbers(0, N), whole_numbers(4, 30)
    for queries in (asking, asking.reshape(10, 3, D), asking[:0]):
        hits = index.build(vectors, np.arange(N), Geometry.dot, queries).search(asking, 9)
        check_same(hits, oracle(asking, vectors, np.arange(N), 9, [], np.arange(N)))


def test_queries_to_measure_by_are_checked(index: Index) -> None:
    vectors, asking = whole_numbers(0, N), whole_numbers(4, 30)
    with pytest.raises(DataError, match="queries have 5 dimensions, the vectors 8; take both from one model"):
        index.build(vectors, np.arange(N), Geometry.dot, asking[:, :5])
    asking[7, 1] = np.nan
    with pytest.raises(DataError, match="row 7 of queries is not finite"):
        index.build(vectors, np.arange(N), Geometry.dot, asking)


def test_cosine_refuses_other_lengths_by_row_and_id(index: Index) -> None:
    vectors = directions(0, N)
    vectors[4] *= 1.002
    with pytest.raises(
        DataError, match=r"row 4 of vectors \(id 400\) has length 1.002; cosine geometry needs length 1"
    ):
        index.build(vectors, np.arange(N) * 100, Geometry.cosine)


def test_ids_must_be_different_and_not_negative(index: Index) -> None:
    with pytest.raises(DataError, match="id 9 names 2 vectors or more"):
        index.build(whole_numbers(0, 3), np.array([9, 1, 9]), Geometry.dot)
    with pytest.raises(DataError, match="the id of row 1 is -5; ids must be 0 or more"):
        index.build(whole_numbers(0, 3), np.array([9, -5, 1]), Geometry.dot)
    with pytest.raises(DataError, match="there are 2 ids for 3 vectors"):
        index.build(whole_numbers(0, 3), np.array([9, 1]), Geometry.dot)


def test_bad_requests_are_refused(searcher: Searcher) -> None:
    with pytest.raises(ConfigError, match="k is 0; ask for at least 1"):
        searcher.search(whole_numbers(0, 1), 0)
    with pytest.raises(DataError, match="exclude holds 1 lists for 2 queries"):
        searcher.search(whole_numbers(0, 2), 1, [searcher.ids])


def test_a_folder_without_an_index_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.json is missing; publish the run again"):
        load_index(tmp_path)
    (tmp_path / "index.json").write_text('{"kind": "ivf"}')
    with pytest.raises(DataError, match="has format None; this version reads 2 to 4; publish again"):
        load_index(tmp_path)
    (tmp_path / "index.json").write_text('{"kind": "tree"}')
    with pytest.raises(DataError, match="is of kind 'tree'; this version reads exact, ivf, hnsw"):
        load_index(tmp_path)


def test_users_with_several_queries_get_the_best_of_each(index: Index) -> None:
    vectors, queries = whole_numbers(1, N), whole_numbers(2, 12).reshape(4, 3, D)
    ids = np.arange(N) * 5
    searcher = index.build(vectors, ids, Geometry.dot)
    exclude = [ids[row : 40 * row] for row in range(4)]
    scores = np.einsum("qid,nd->qin", queries, vectors).max(axis=1)
    for row, gone in enumerate(exclude):
        scores[row, np.isin(ids, gone)] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :50]
    check_same(searcher.search(queries, 50, exclude), Hits(ids[best], np.take_along_axis(scores, best, axis=1)))
