"""What Auto builds, what it says it measured, and what an independent measurement finds."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from towers.index import Auto, Exact, Ivf, Searcher, auto, measured_recall
from towers.index.measure import Questions, held_mb
from towers.index.recall import to_measure
from towers.types import ConfigError, Geometry

N, DIM = 4000, 16


def clusters(seed: int, n: int) -> np.ndarray:
    centers = np.random.default_rng(9).standard_normal((20, DIM))
    random = np.random.default_rng(seed)
    vectors = centers[random.integers(0, 20, n)] + random.normal(0, 0.6, (n, DIM))
    return np.divide(vectors, np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VIDEOS, USERS = clusters(0, N), clusters(1, 200)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exact search is fast enough, so that a small catalogue is measured as a large one is."""
    monkeypatch.setattr(auto, "_FEW", 0)
    monkeypatch.setattr(auto, "_ENOUGH_US", 0)


def built(index: Auto, queries: np.ndarray | None = USERS, videos: np.ndarray = VIDEOS) -> Searcher:
    return index.build(videos, np.arange(len(videos)), Geometry.cosine, queries)


def found(searcher: Searcher, queries: np.ndarray = USERS, videos: np.ndarray = VIDEOS) -> float:
    exact = Exact().build(videos, np.arange(len(videos)), Geometry.cosine)
    return measured_recall(searcher, exact, to_measure(queries), 100)


def test_a_small_catalogue_is_searched_exactly_and_nothing_else_is_built(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        searcher = built(Auto(), USERS[:9], VIDEOS[:300])
    (point,) = searcher.curve
    assert (searcher.kind, point.name, point.recall, point.holds, point.chosen) == ("exact", "exact", 1.0, True, True)
    assert searcher.why.startswith("exact: recall@100 1, p50 ")
    assert searcher.why.endswith("; nothing faster is needed; measured with 4 given queries")
    assert [(record.levelname, record.message) for record in caplog.records] == [("INFO", f"Index {searcher.why}")]


@pytest.mark.usefixtures("impatient")
def test_the_curve_is_what_was_measured_and_its_choice_is_what_is_returned() -> None:
    searcher = built(Auto(recall=0.9))
    exact, *lists = searcher.curve
    (chosen,) = [point for point in searcher.curve if point.chosen]
    assert (exact.kind, exact.recall) == ("exact", 1.0)
    reaches = [0.5, 1.0, 1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.25, 3.5, 4.0, 5.0, 6.0]
    assert [point.options["reach"] for point in lists] == reaches
    assert [point.holds for point in lists] == [point.recall >= 0.9 for point in lists]
    assert chosen.holds
    for point in lists:
        alone = built_as(point.options["reach"])
        assert point.recall == found(alone)
        assert point.memory_mb == pytest.approx(held_mb(alone), abs=1e-3)
        assert 0 < point.p50_us <= point.p99_us
    assert searcher.why.startswith(f"{chosen.name}: recall@100 ")
    assert found(searcher) == chosen.recall


@pytest.mark.usefixtures("impatient")
def test_the_step_to_what_is_asked_for_is_halved() -> None:
    less, more = built_as(1.0), built_as(1.5)
    asked = found(less) + 0.3 * (found(more) - found(less))
    lists = built(Auto(recall=asked)).curve[1:]
    reaches = [float(point.options["reach"]) for point in lists]
    assert reaches == sorted(reaches)
    between = [point for point in lists if point.options["reach"] not in auto.REACHES]
    assert len(between) == 3
    assert all(1.0 < point.options["reach"] < 1.5 for point in between)
    enough = [point.recall >= asked for point in lists]
    first = enough.index(True)
    assert reaches[first] - reaches[first - 1] == 0.5 / 2**3
    for point in between:
        assert point.recall == found(built_as(point.options["reach"]))


@pytest.mark.parametrize(("few", "enough_us", "kinds"), [(N, 0, 1), (0, 1e9, 1), (N - 1, 0, 2)])
def test_lists_are_tried_for_many_videos_that_take_long(
    few: int, enough_us: float, kinds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auto, "_FEW", few)
    monkeypatch.setattr(auto, "_ENOUGH_US", enough_us)
    assert len({point.kind for point in built(Auto()).curve}) == kinds


def built_as(reach: float) -> Searcher:
    return Ivf(reach=reach).build(VIDEOS, np.arange(N), Geometry.cosine, USERS)


@pytest.mark.usefixtures("impatient")
def test_lists_are_taken_where_they_are_as_good_as_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Questions, "times_us", lambda _, searcher: np.full(9, 500.0 if searcher.exact else 40.0))
    searcher = built(Auto(recall=0.95))
    assert searcher.kind == "ivf"
    # All reaches are equally fast here, so the one that finds the most.
    recalls = {point.options["reach"]: point.recall for point in searcher.curve if point.kind == "ivf"}
    best = max(recalls.values())
    assert searcher.reach == min(reach for reach, recall in recalls.items() if recall == best)  # type: ignore[attr-defined]
    assert found(searcher) == best > 0.999


@pytest.mark.usefixtures("impatient")
@settings(max_examples=6)
@given(seed=st.integers(0, 99), recall=st.sampled_from([0.5, 0.9, 0.97, 0.999, 1.0]), dot=st.booleans())
def test_the_recall_that_is_asked_for_is_held_on_the_queries_given(seed: int, recall: float, dot: bool) -> None:
    videos, users = clusters(seed, 1000), clusters(seed + 100, 50)
    videos = videos * np.exp(np.random.default_rng(seed).normal(0, 1, (1000, 1))).astype(np.float32) if dot else videos
    geometry = Geometry.dot if dot else Geometry.cosine
    searcher, exact = (each.build(videos, np.arange(1000), geometry, users) for each in (Auto(recall=recall), Exact()))
    (chosen,) = [point for point in searcher.curve if point.chosen]
    assert measured_recall(searcher, exact, to_measure(users), 100) == chosen.recall >= recall


@pytest.mark.parametrize(("share", "kind"), [(0.7, "ivf_pq"), (0.5, "ivf_rabitq")])
def test_where_memory_forbids_our_own_codes_those_of_faiss_are_taken_within_it(share: float, kind: str) -> None:
    wide = [np.tile(each, 8) / np.float32(8**0.5) for each in (VIDEOS, USERS)]
    random = np.random.default_rng(0)
    videos, users = (each + random.normal(0, 0.03, each.shape).astype(np.float32) for each in wide)
    exact = Exact().build(videos, np.arange(N), Geometry.dot)
    most = share * held_mb(exact)
    searcher = Auto(recall=0.9, memory_mb=most).build(videos, np.arange(N), Geometry.dot, users)
    (chosen,) = [point for point in searcher.curve if point.chosen]
    assert {point.kind for point in searcher.curve} == {"exact", kind}
    assert searcher.kind == chosen.kind == kind
    assert held_mb(searcher) == pytest.approx(chosen.memory_mb, abs=1e-3)
    assert chosen.memory_mb <= most
    assert measured_recall(searcher, exact, to_measure(users), 100) == chosen.recall >= 0.9
    assert not searcher.curve[0].holds


def test_where_nothing_fits_the_smallest_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    searcher = built(Auto(memory_mb=0.01))
    smallest = min(point.memory_mb for point in searcher.curve)
    (chosen,) = [point for point in searcher.curve if point.chosen]
    assert chosen.memory_mb == smallest
    assert f"memory is {smallest:.3g} MB where 0.01 was asked" in searcher.why
    assert "index.memory_mb=0." in searcher.why
    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", f"Index {searcher.why}")]


def test_a_time_that_nothing_holds_is_tried_for_and_told(caplog: pytest.LogCaptureFixture) -> None:
    searcher = built(Auto(recall=0.99, p99_ms=1e-6))
    assert {point.kind for point in searcher.curve} == {"exact", "ivf"}
    assert not any(point.holds for point in searcher.curve)
    assert " ms where 1e-06 was asked" in searcher.why
    assert "index.p99_ms=" in searcher.why
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_catalogue_too_small_for_lists_is_searched_exactly_whatever_is_asked() -> None:
    searcher = built(Auto(p99_ms=1e-6, memory_mb=1e-6), USERS, VIDEOS[:60])
    assert [point.kind for point in searcher.curve] == ["exact"]
    assert "it does not hold what was asked" in searcher.why


def test_without_queries_some_videos_ask_and_that_is_told() -> None:
    for nobody in (None, USERS[:0]):
        searcher = built(Auto(), nobody)
        assert searcher.why.endswith("measured with 1,000 of the videos' own vectors, as no queries were given")
    # Numbers whose squares are beyond float32, and a vector that has no direction.
    long = np.vstack([VIDEOS[:200] * np.float32(1e30), np.zeros((1, DIM), np.float32)])
    assert Auto().build(long, np.arange(201), Geometry.dot).curve[0].recall == 1


def test_no_more_than_a_thousand_queries_are_asked_and_users_with_several_too() -> None:
    many = clusters(3, 4200).reshape(2100, 2, DIM)
    searcher = built(Auto(), many)
    assert searcher.why.endswith("measured with 525 given queries")
    assert searcher.curve[0].recall == 1


def test_no_videos_are_searched_exactly() -> None:
    searcher = built(Auto(), USERS, VIDEOS[:0])
    assert (searcher.kind, searcher.why, searcher.curve) == ("exact", "exact: there are no videos", ())


@pytest.mark.parametrize("recall", [0.0, -0.5, 1.01, float("nan")])
def test_a_recall_that_makes_no_sense_is_refused(recall: float) -> None:
    with pytest.raises(ConfigError, match=rf"index.recall is {recall}; give a share above 0, at most 1"):
        Auto(recall=recall)


@pytest.mark.parametrize("name", ["memory_mb", "p99_ms"])
def test_limits_that_make_no_sense_are_refused(name: str) -> None:
    for value in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigError, match=rf"index.{name} is {value}; give a number above 0, or null"):
            Auto(**{name: value})
