"""How a live index keeps its recall and its size: when it builds anew, and what of."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.index.live.worlds import BY_HAND, begun, whole
from towers.index import Auto, Exact, Index, Ivf, Live, Searcher, Upkeep, auto
from towers.index.clusters import weight_of
from towers.index.live.health import recall_of
from towers.index.live.moment import Moment
from towers.index.measure import Questions
from towers.types import ConfigError, Geometry

N, DIM = 4000, 16


def clustered(seed: int, n: int, offset: float = 0.0) -> np.ndarray:
    """Unit vectors about 40 centers, which another offset turns elsewhere."""
    centers = np.random.default_rng(1).standard_normal((40, DIM)) + offset * np.random.default_rng(2).standard_normal((
        40,
        DIM,
    ))
    random = np.random.default_rng(seed)
    vectors = centers[random.integers(0, 40, n)] + 0.7 * random.standard_normal((n, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def catalogue(folder: Path, index: Index, upkeep: Upkeep) -> Live:
    vectors = clustered(3, N)
    Live.create(folder, vectors, np.arange(N), Geometry.cosine, index, clustered(4, 100)).close()
    return Live.open(folder, sync=False, upkeep=upkeep)


def recall_of_a_fresh_build(live: Live, index: Index, queries: np.ndarray) -> float:
    fresh = index.build(*live._current.now.contents(), Geometry.cosine, queries)
    return recall_of(Moment.of(fresh), queries)  # type: ignore[arg-type]


def test_half_of_a_catalogue_replaced_one_by_one_costs_no_recall(tmp_path: Path) -> None:
    index = Ivf(nlist=60, nprobe=12)
    with catalogue(tmp_path / "live", index, Upkeep(recent=0.0, at_least=300)) as live:
        before = live.health()
        new = clustered(5, N // 2)
        for row, name in enumerate(np.random.default_rng(6).permutation(N)[: N // 2]):
            assert live.put(new[row : row + 1], np.array([name])) == 0
    queries = clustered(7, 200)
    after, fresh = live.health(queries), recall_of_a_fresh_build(live, index, queries)
    assert 0.9 < before.recall < 1
    assert after.recall >= fresh - 0.005
    # Writers wait at four times what should be recent.
    assert after.recent <= 4 * 300 + 1
    assert after.tombstones <= 4 * 300 + 1
    assert len(live) == N


def test_lists_that_no_longer_fit_are_made_anew(tmp_path: Path) -> None:
    index = Ivf(nlist=60, nprobe=12)
    with catalogue(tmp_path / "live", index, BY_HAND) as live:
        live.put(clustered(5, 3 * N // 4, offset=2.0), np.arange(3 * N // 4))
        queries = clustered(7, 256, offset=2.0)
        for row in range(256):
            live.search(queries[row : row + 1], 1)
        before = live._part
        kept = live._current.now.main.refilled(*live._current.now.news())  # type: ignore[attr-defined]
        fell = recall_of(Moment.of(kept), queries)
        live.compact()
        assert fell < before.recall - 0.005
        assert live.health().recall > fell + 0.005
        assert live.health().recall == pytest.approx(live.health().recall_built, abs=0.01)
        assert live.health().recall == pytest.approx(recall_of_a_fresh_build(live, index, queries), abs=0.005)
        part = live._part
        fresh = index.build(*live._current.now.contents(), Geometry.cosine, part.queries)
        fresh_recall = recall_of(Moment.of(fresh), part.asking)  # type: ignore[arg-type]
        assert live.health(part.asking).recall == part.recall == fresh_recall


def test_lists_made_anew_after_one_user_asked_are_still_for_those_of_before(tmp_path: Path) -> None:
    index, users = Ivf(nlist=60, nprobe=6), clustered(7, 300)
    with Live.create(tmp_path / "live", clustered(0, N), np.arange(N), Geometry.cosine, index, users) as live:
        live.search(clustered(8, 1), 1)
        live.compact(recluster=True)
        weight = live._current.now.main.lists.weight  # type: ignore[attr-defined]
        known = np.concatenate([live._part.queries[:256], clustered(8, 1)])
        expected = weight_of(known[::2])
        assert expected is not None
        np.testing.assert_allclose(weight, expected, atol=1e-6)
        assert live._part.users


def test_without_users_lists_are_by_direction_whenever_they_are_made(tmp_path: Path) -> None:
    with Live.create(tmp_path / "live", clustered(0, N), np.arange(N), Geometry.cosine, Ivf(nlist=60)) as live:
        for _ in range(2):
            weight = live._current.now.main.lists.weight  # type: ignore[attr-defined]
            np.testing.assert_array_equal(weight, np.eye(weight.shape[0]))
            assert not live._part.users
            live.compact(recluster=True)


def test_its_own_measurement_has_lists_made_anew(tmp_path: Path) -> None:
    live = catalogue(tmp_path / "live", Ivf(nlist=60, nprobe=12), Upkeep())
    known = live._part
    live._part = known._replace(recall=known.recall + 0.006)
    assert live.health().fallen
    live.close()
    assert not live.health().fallen
    assert live._part.main is not known.main
    assert [path.name for path in live.folder.glob("main-*")] == ["main-000002"]


def test_twice_as_many_videos_get_lists_of_their_own(tmp_path: Path) -> None:
    with catalogue(tmp_path / "live", Ivf(), BY_HAND) as live:
        live.put(clustered(5, N - 1), np.arange(N, 2 * N - 1))
        live.compact()
        assert live._part.videos == N
        live.put(clustered(6, 2), np.arange(2 * N, 2 * N + 2))
        live.compact()
        assert live._part.videos == 2 * N + 1


def test_more_lists_than_videos_are_left_as_fewer_lists_and_said(tmp_path: Path) -> None:
    with catalogue(tmp_path / "live", Ivf(nlist=60, nprobe=12), BY_HAND) as live:
        live.remove(np.arange(9, N))
        live.compact()
        assert live._part.main.nlist == 9  # type: ignore[attr-defined]
        assert live.why == "9 lists of index.nlist=60: there are only 9 videos"
        assert Live.open(live.folder, write=False).why == live.why
        live.save(tmp_path / "copy")
        assert Live.open(tmp_path / "copy", write=False).ids.tolist() == list(range(9))
        live.put(clustered(3, N), np.arange(N))
        live.compact()
        assert live._part.main.nlist == 60  # type: ignore[attr-defined]
        assert not live.why


@pytest.mark.parametrize("apart", [1, 2**40])
def test_long_allow_lists_do_not_bring_back_what_is_gone(tmp_path: Path, apart: int) -> None:
    ids = np.arange(N) * apart
    with Live.create(tmp_path / "live", clustered(3, N), ids, Geometry.cosine, Exact()) as live:
        live.remove(ids[::3])
        allow = ids[N // 4 :]
        found = live.search(clustered(8, 2), N, None, allow).ids
    left = np.setdiff1d(allow, ids[::3])
    assert [sorted(row[row >= 0].tolist()) for row in found] == [left.tolist()] * 2


def test_where_building_in_the_background_fails_it_is_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun(tmp_path / "live")[0].close()
    live = Live.open(tmp_path / "live", upkeep=Upkeep(recent=0.0, at_least=10))

    def full(_part: object, _folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("towers.index.live.parts.Part.save", full)
    live.put(whole(1, 11), np.arange(100, 111))
    live._join()
    assert "could not build a new main part; it goes on with the old one" in caplog.text
    monkeypatch.undo()
    live.put(whole(2, 1), np.array([200]))
    live._join()
    assert live.health().recent == 12
    live.put(whole(3, 9), np.arange(201, 210))
    live._join()
    assert live.health().recent == 0
    assert len(live) == 20 + 11 + 1 + 9
    live.close()


def test_writers_wait_where_building_is_slower_than_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun(tmp_path / "live")[0].close()
    live = Live.open(tmp_path / "live", sync=False, upkeep=Upkeep(recent=0.0, at_least=10))
    waits: list[int] = []
    monkeypatch.setattr(live, "_start", lambda **_: None)
    monkeypatch.setattr(live, "_join", lambda: waits.append(live.health().recent))
    for row in range(43):
        live.put(whole(row, 1), np.array([100 + row]))
    assert waits == [41, 42]
    monkeypatch.undo()
    live.close()


def measurements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds whose speed was measured since."""
    kinds: list[str] = []
    measured = Questions.times_us

    def noted(questions: Questions, searcher: Searcher) -> np.ndarray:
        kinds.append(searcher.kind)
        return measured(questions, searcher)

    monkeypatch.setattr(Questions, "times_us", noted)
    return kinds


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_what_auto_chose_stays_until_lists_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(auto, "_FEW", N if kind == "exact" else 0)
    monkeypatch.setattr(Questions, "times_us", lambda _, searcher: np.full(9, 500.0 if searcher.exact else 40.0))
    with catalogue(tmp_path / "live", Auto(recall=0.9), BY_HAND) as live:
        before = live._current.now.main
        measured = measurements(monkeypatch)
        live.put(clustered(5, N - 1), np.arange(N, 2 * N - 1))
        live.compact()
        kept = live._current.now.main
        assert (kept.kind, kept.why, len(kept)) == (kind, before.why, 2 * N - 1)
        assert getattr(kept, "reach", None) == getattr(before, "reach", None)
        assert measured == []
        live.compact(recluster=True)
        assert measured[0] == "exact"
        assert live._part.videos == 2 * N - 1
        assert "given queries" in live._current.now.main.why


def test_a_limit_of_memory_is_refused_as_it_could_not_be_held(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"index.memory_mb is 9.0, but a live index grows with what comes; leave it"):
        Live.create(tmp_path / "live", clustered(3, 9), np.arange(9), Geometry.cosine, Auto(memory_mb=9.0))
    assert not list((tmp_path / "live").iterdir())


def test_an_index_of_before_auto_measured_can_be_built_anew(tmp_path: Path) -> None:
    with catalogue(tmp_path / "live", Auto(), BY_HAND):
        pass
    header = tmp_path / "live" / "index.json"
    content = json.loads(header.read_text())
    assert content["index"] == {"name": "auto", "options": {"recall": 0.99, "memory_mb": None, "p99_ms": None}}
    content["index"]["options"] = {"exact_below": 50_000, "reach": 2.5}
    header.write_text(json.dumps(content))
    with Live.open(tmp_path / "live", upkeep=BY_HAND) as live:
        live.put(clustered(5, N + 1), np.arange(N, 2 * N + 1))
        live.compact()
        assert live._part.videos == 2 * N + 1
        assert live.health().recall >= 0.99
