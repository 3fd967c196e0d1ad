"""What is the lists' own: recall when few are looked into, rows they cannot fill, options."""

import numpy as np
import pytest

from towers.index import Exact, Ivf, Searcher, measured_recall
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
    assert 0.7 < measured_recall(near, exact, clusters[::40], 20) < 1
    assert measured_recall(far, exact, clusters[::40], 20) == 1


def test_with_another_reach_it_finds_what_lists_built_for_that_reach_find(clusters: np.ndarray) -> None:
    near, far = (Ivf(nlist=50, reach=reach).build(clusters, np.arange(4000), Geometry.cosine) for reach in (0.1, 4.0))
    few = near.search(clusters[:60], 20).ids
    changed = near.reaching(4.0).search(clusters[:60], 20).ids  # type: ignore[attr-defined]
    np.testing.assert_array_equal(changed, far.search(clusters[:60], 20).ids)
    assert (changed != few).any()
    np.testing.assert_array_equal(near.search(clusters[:60], 20).ids, few)


@pytest.mark.parametrize("share", [0.5, 0.1, 0.01])
def test_filters_cost_no_recall(clusters: np.ndarray, share: float) -> None:
    exact, ivf = (index.build(clusters, np.arange(4000), Geometry.cosine) for index in (Exact(), Ivf(nlist=50)))
    allow = np.random.default_rng(2).choice(4000, int(4000 * share), replace=False)
    wanted, given = exact.search(clusters[::40], 20, allow=allow).ids, ivf.search(clusters[::40], 20, allow=allow).ids
    assert (given >= 0).all()
    assert np.isin(given, allow).all()
    assert np.mean([np.isin(a, b).mean() for a, b in zip(wanted, given, strict=True)]) > 0.99


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
