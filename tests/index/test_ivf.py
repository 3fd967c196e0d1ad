"""What is the lists' own: recall when few are looked into, rows they cannot fill, options."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.vectors import LIKE, K, World, write_made
from towers.index import Exact, Ivf, Mask, Searcher, load_index, measured_recall, top_k
from towers.index import ivf as ivf_module
from towers.index.clusters import lift, longest_of, weight_of
from towers.index.ivf import IvfSearcher
from towers.index.lists import Lists, nearest_lists
from towers.index.look import Stock
from towers.index.probing import Effort
from towers.index.promises import about_falling, first
from towers.index.recall import share_found
from towers.index.request import Request
from towers.types import ConfigError, DataError, Geometry


@pytest.fixture(scope="module")
def clusters() -> np.ndarray:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((20, 16))[random.integers(0, 20, 4000)] + random.normal(0, 0.4, (4000, 16))
    return np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def build(vectors: np.ndarray, nprobe: int) -> Searcher:
    return Ivf(nlist=50, nprobe=nprobe).build(vectors, np.arange(len(vectors)), Geometry.cosine)


def test_recall_rises_with_nprobe_to_one(clusters: np.ndarray) -> None:
    exact = Exact().build(clusters, np.arange(4000), Geometry.cosine)
    recalls = [measured_recall(build(clusters, nprobe), exact, clusters[::40], 20) for nprobe in (1, 2, 50)]
    assert 0.2 < recalls[0] < recalls[1] < recalls[2]
    assert recalls[2] == 1


def test_recall_rises_with_reach_and_few_lists_are_enough(clusters: np.ndarray) -> None:
    exact = Exact().build(clusters, np.arange(4000), Geometry.cosine)
    near, far = (Ivf(nlist=50, reach=reach).build(clusters, np.arange(4000), Geometry.cosine) for reach in (0.1, 4.0))
    assert 0.7 < measured_recall(near, exact, clusters[::40], 200) < 0.998
    assert measured_recall(far, exact, clusters[::40], 200) > 0.9999
    assert measured_recall(far, exact, clusters[::40], 20) == 1


def test_lists_formed_for_users_find_more_of_theirs(tmp_path: Path) -> None:
    made = write_made(tmp_path, LIKE["kuairand"], 20_000, 32, users=300)
    ids = np.arange(20_000)
    asked, unasked = (
        Ivf(nlist=150, nprobe=6).build(made.videos, ids, Geometry.cosine, queries).search(made.users, K).ids
        for queries in (made.others, None)
    )
    assert share_found(made.best, asked) > share_found(made.best, unasked) + 0.1


def test_what_a_difference_weighs_is_what_it_makes_of_scores() -> None:
    random = np.random.default_rng(0)
    queries = (random.standard_normal((20_000, 3)) * [4, 1, 0] + [0, 2, 0]).astype(np.float32)
    unit = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    apart = random.standard_normal((50, 3))
    made = ((unit @ apart.T) ** 2).mean(axis=0)
    weight = weight_of(queries)
    assert weight is not None
    weighed = np.einsum("ni,ij,nj->n", apart, weight, apart)
    np.testing.assert_allclose(weighed / 3, made, rtol=0.01, atol=0.001)
    np.testing.assert_array_equal(weight, weight_of(queries.reshape(-1, 4, 3)))
    assert weight_of(np.zeros((2, 3), np.float32)) is None
    assert weight_of(queries[:0]) is None


def test_new_vectors_go_to_the_list_whose_mean_weighs_least(clusters: np.ndarray) -> None:
    queries = (clusters[:500] * np.linspace(3, 0, 16)).astype(np.float32)
    searcher = Ivf(nlist=50).build(clusters[:3000], np.arange(3000), Geometry.cosine, queries)
    assert isinstance(searcher, IvfSearcher)
    lists = searcher.lists
    np.testing.assert_array_equal(lists.weight, weight_of(queries[::2]))
    apart = clusters[3000:, None, :] - lists.centers.vectors[None, :50, :-1]
    nearest = np.einsum("nci,ij,ncj->nc", apart, lists.weight, apart).argmin(axis=1)
    np.testing.assert_array_equal(nearest_lists(lists, clusters[3000:]), nearest)
    assert (nearest != (apart**2).sum(axis=2).argmin(axis=1)).any()
    both = searcher.refilled(clusters[3000:], np.arange(3000, 4000))
    where = np.searchsorted(both.lists.begins, np.flatnonzero(both.stock.blocks.ids >= 3000) // 16, side="right") - 1
    new = both.stock.blocks.ids[both.stock.blocks.ids >= 3000] - 3000
    np.testing.assert_array_equal(where, nearest[new])


def test_lists_of_format_3_are_read_as_ever(clusters: np.ndarray, tmp_path: Path) -> None:
    searcher = build(clusters, 0)
    searcher.save(tmp_path)
    header = tmp_path / "index.json"
    header.write_text(header.read_text().replace('"format": 4', '"format": 3'))
    (tmp_path / "lists" / "weight.npy").unlink()
    found = load_index(tmp_path)
    np.testing.assert_array_equal(found.search(clusters[:9], 30).ids, searcher.search(clusters[:9], 30).ids)
    assert isinstance(found, IvfSearcher)
    assert found.refilled(clusters[:1], np.array([4000])).search(clusters[:1], 2).ids.tolist() == [[0, 4000]]


def test_lifted_part_by_part_vectors_are_what_they_are_at_once(clusters: np.ndarray) -> None:
    vectors = clusters * np.linspace(0.1, 7, 4000, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(lift(vectors)[:100], lift(vectors[:100], longest_of(vectors)))


def test_with_another_reach_it_finds_what_lists_built_for_that_reach_find(clusters: np.ndarray) -> None:
    near, far = (Ivf(nlist=50, reach=reach).build(clusters, np.arange(4000), Geometry.cosine) for reach in (0.1, 4.0))
    few = near.search(clusters[:60], 20).ids
    changed = near.reaching(4.0).search(clusters[:60], 20).ids  # type: ignore[attr-defined]
    np.testing.assert_array_equal(changed, far.search(clusters[:60], 20).ids)
    assert (changed != few).any()
    np.testing.assert_array_equal(near.search(clusters[:60], 20).ids, few)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Searcher]:
    made = write_made(tmp_path_factory.mktemp("large"), LIKE["gowalla"], 40_000, 32, users=150)
    return made, Ivf(nlist=300).build(made.videos, np.arange(40_000), Geometry.cosine)


def nearest_to_one(videos: np.ndarray) -> np.ndarray:
    return np.argsort(-(videos @ videos[7]), kind="stable")


def on_one_side(videos: np.ndarray) -> np.ndarray:
    return np.argsort(videos[:, 0], kind="stable")


def anywhere(videos: np.ndarray) -> np.ndarray:
    return np.random.default_rng(2).permutation(len(videos))


@pytest.mark.parametrize("few", [0, 2048])
@pytest.mark.parametrize("share", [0.5, 0.1, 0.01, 0.001])
@pytest.mark.parametrize("order", [anywhere, nearest_to_one, on_one_side])
def test_filters_cost_no_recall(
    large: tuple[World, Searcher],
    order: Callable[[np.ndarray], np.ndarray],
    share: float,
    few: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # With few = 0 lists are looked into even where it would cost less to look at all that is left.
    monkeypatch.setattr(ivf_module, "FEW", few)
    made, searcher = large
    allowed = order(made.videos)[: int(share * 40_000)]
    truth = allowed[top_k(made.users, made.videos[allowed], min(K, len(allowed))).ids]
    given = searcher.search(made.users, K, allow=Mask(allowed)).ids
    assert (given[:, : truth.shape[1]] >= 0).all()
    assert share_found(truth, given[:, : truth.shape[1]]) > 0.99 * share_found(
        made.best, searcher.search(made.users, K).ids
    )


def test_lists_and_blocks_that_hold_nothing_allowed_are_left_alone(
    large: tuple[World, Searcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ivf_module, "FEW", 0)
    made, searcher = large
    assert isinstance(searcher, IvfSearcher)
    begins = searcher._lists.begins * 16
    ids = searcher.stock.blocks.ids
    within = np.concatenate([ids[begins[each] : begins[each + 1]] for each in range(0, 300, 4)])
    within = within[within >= 0]
    seen: list[tuple[int, int]] = []

    def note(stock: Stock, request: Request, lists: Lists, effort: Effort) -> None:
        seen.append((int(np.bitwise_count(lists.centers.alive).sum()), int(np.count_nonzero(request.may))))
        code(stock, request, lists, effort)

    code = searcher._in_lists
    monkeypatch.setitem(searcher.__dict__, "_in_lists", note)
    found = searcher.search(made.users[:1], K, allow=Mask(within)).ids
    assert seen == [(75, sum(int(begins[each + 1] - begins[each]) // 16 for each in range(0, 300, 4)))]
    truth = within[top_k(made.users[:1], made.videos[within], K).ids]
    assert share_found(truth, found) > 0.95


def test_many_allowed_ids_of_a_wide_range_are_the_same_as_of_a_narrow_one(clusters: np.ndarray) -> None:
    near, far = (Ivf(nlist=50).build(clusters, np.arange(4000) * step, Geometry.cosine) for step in (1, 2**40))
    allow = np.random.default_rng(3).choice(4000, 3000, replace=False)
    found = far.search(clusters[:9], 30, allow=allow * 2**40)
    np.testing.assert_array_equal(near.search(clusters[:9], 30, allow=allow).ids * 2**40, found.ids)


def test_lengths_that_differ_cost_little_recall(clusters: np.ndarray) -> None:
    # Without the lift the lists hold directions, and long vectors of other directions are missed: .83 here.
    vectors = clusters * np.exp(np.random.default_rng(1).normal(0, 2, (4000, 1))).astype(np.float32)
    exact = Exact().build(vectors, np.arange(4000), Geometry.dot)
    searcher = Ivf(nlist=50).build(vectors, np.arange(4000), Geometry.dot)
    assert measured_recall(searcher, exact, clusters[::40], 20) > 0.97


def test_short_lists_are_filled_exactly(clusters: np.ndarray) -> None:
    searcher = build(clusters, 1)
    exact = Exact().build(clusters, np.arange(4000), Geometry.cosine)
    far = exact.search(clusters[:1], 300).ids[0, 200:]
    near = np.setdiff1d(np.arange(4000), far)
    assert searcher.search(clusters[:1], 100, [near]).ids.tolist() == [sorted(far, key=far.tolist().index)]
    assert searcher.search(clusters[:3], 3000).found.tolist() == [3000] * 3


def test_scores_are_float32_inner_products(clusters: np.ndarray) -> None:
    hits = build(clusters, 8).search(clusters[:50], 10)
    np.testing.assert_allclose(hits.scores, np.einsum("qd,qkd->qk", clusters[:50], clusters[hits.ids]), atol=1e-6)


def test_the_number_of_lists_follows_the_catalogue() -> None:
    vectors = np.random.default_rng(0).standard_normal((2000, 4)).astype(np.float32)
    assert Ivf().build(vectors[:1], np.arange(1), Geometry.dot).search(vectors[:1], 1).ids.tolist() == [[0]]
    assert Ivf().build(vectors, np.arange(2000), Geometry.dot).nlist == 2000 // 39  # type: ignore[attr-defined]


def test_options_that_make_no_sense_are_refused(clusters: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"index.nlist is -1 and index.nprobe 0"):
        Ivf(nlist=-1)
    with pytest.raises(ConfigError, match=r"index.nlist is 0 and index.nprobe -1"):
        Ivf(nprobe=-1)
    with pytest.raises(ConfigError, match=r"index.reach is 0.0; give standard deviations above 0"):
        Ivf(reach=0.0)
    with pytest.raises(DataError, match=r"index.nlist is 50, but there are 3 vectors"):
        build(clusters[:3], 1)


@given(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(-np.inf), min_size=1, max_size=300), st.integers(1, 300))
def test_lists_come_about_in_the_order_of_what_they_promise(numbers: list[float], count: int) -> None:
    scores = np.array(numbers, np.float32)
    places, about = about_falling(scores, count)
    finite = scores[scores > -np.inf].astype(np.float64)
    assert len(places) == min(count, len(finite))
    assert len(set(places.tolist())) == len(places)
    assert (np.diff(about) <= 0).all()
    thousandth = np.ptp(finite) / 1000 if len(finite) else 0.0
    rounding = 1e-6 * np.abs(finite).max(initial=1)
    assert (about >= scores[places] - rounding).all()
    assert (about - scores[places] <= thousandth + rounding).all()
    best = -np.sort(-finite)[:count]
    assert (scores[places] >= best - thousandth - rounding).all()


@pytest.mark.parametrize("nprobe", [0, 650])
def test_many_queries_look_on_together_into_lists_that_promise_less_than_the_best_hundreds(
    clusters: np.ndarray, nprobe: int
) -> None:
    searcher = Ivf(nlist=700, reach=50.0, nprobe=nprobe).build(clusters, np.arange(len(clusters)), Geometry.cosine)
    found = searcher.search(clusters[:9], 3000).ids
    alone = np.concatenate([searcher.search(clusters[row : row + 1], 3000).ids for row in range(9)])
    np.testing.assert_array_equal(found, alone)
    assert (found >= 0).all()


@given(
    q=st.integers(1, 40),
    k=st.sampled_from([1, 10, 200, 1500]),
    seed=st.integers(0, 1000),
    reach=st.sampled_from([0.5, 2.5, 50.0]),
    nprobe=st.sampled_from([0, 0, 3, 30]),
    nlist=st.sampled_from([60, 700]),
)
def test_many_queries_find_together_what_each_finds_alone(
    q: int, k: int, seed: int, reach: float, nprobe: int, nlist: int, clusters: np.ndarray
) -> None:
    rng = np.random.default_rng(seed)
    ids = rng.permutation(len(clusters))
    searcher = Ivf(nlist=nlist, reach=reach, nprobe=nprobe).build(clusters, ids, Geometry.cosine)
    queries = clusters[rng.integers(0, len(clusters), q)] + 0.1 * rng.normal(size=(q, clusters.shape[1]))
    queries = queries.astype(np.float32)
    gone = [rng.choice(ids, rng.integers(0, 300), replace=False) for _ in range(q)]
    for exclude, allow in ((None, None), (gone, None), (gone, np.sort(rng.choice(ids, len(ids) // 2, replace=False)))):
        hits = searcher.search(queries, k, exclude, allow)
        for row in range(q):
            alone = searcher.search(queries[row : row + 1], k, None if exclude is None else [exclude[row]], allow)
            np.testing.assert_array_equal(hits.ids[row], alone.ids[0])
            np.testing.assert_array_equal(hits.scores[row], alone.scores[0])


@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.booleans())
def test_the_first_lists_are_the_best_and_the_rest_promise_less(rows: int, seed: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    scores = random.standard_normal(128 * rows).astype(np.float32)
    scores = scores.round(1) if tied else scores
    scores[random.random(len(scores)) < 0.2] = -np.inf
    places, about = first(scores, len(scores))
    rest = np.delete(scores, places)
    assert len(set(places.tolist())) == len(places)
    assert (np.diff(about) <= 0).all()
    assert (about >= scores[places] - 1e-5).all()
    assert rest.max(initial=-np.inf) <= scores[places].min()
    assert len(places) >= min(112, np.isfinite(scores).sum())
    if rows > 4 and not tied:
        assert len(places) < 112 * 4
