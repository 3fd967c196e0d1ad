"""A version that is served, as videos come and go and users watch: against the true best of what is there."""

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from towers.data import Dataset
from towers.index import Exact, Hnsw, Index, Ivf
from towers.publishing import Bundle, PublishConfig, publish
from towers.serving import Ask, Candidates, Way
from towers.serving.arrivals import arrived_vectors, check_features
from towers.serving.folder import locked
from towers.serving.together import Shown, Wish, answer_together
from towers.serving.version import Version
from towers.types import ConfigError, DataError

DAY_MS = 86_400_000


def ids_for(string: bool) -> tuple[list[Any], list[Any], list[Any]]:
    """Ids of users, of videos, and of videos that are to come."""
    new = [f"new {n}" for n in range(12)] if string else [2**60 + n for n in range(12)]
    return tiny.ids_of(tiny.USERS, string), tiny.ids_of(tiny.VIDEOS, string), new


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "strings"])
def string(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def bundle(string: bool, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("version")
    dataset = tiny.write_dataset(folder / "dataset", string)
    return publish(
        PublishConfig(run=str(tiny.write_run(folder / "run", dataset)), bundle=str(folder / "bundle"), index=Exact())
    )


@pytest.fixture
def version(bundle: Bundle, tmp_path: Path) -> Iterator[Version]:
    with Version(Bundle.open(bundle.folder), tmp_path / "live") as version:
        yield version


def check_best(version: Version, found: Candidates, user: Any, shown: list[Any]) -> None:  # noqa: ANN401
    """All that is shown, in the order of its inner products; equal ones by their rows."""
    assert set(found.ids) == set(shown)
    scores = version.retriever.embed_videos(list(found.ids)) @ version.retriever.embed_users([user])[0]
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    rows = version.catalogue.rows(list(found.ids))
    assert np.lexsort([rows, -found.scores]).tolist() == list(range(len(shown)))


def seen_by(version: Version, user: Any) -> set[Any]:  # noqa: ANN401
    rows = version.bundle.positives.of(int(version.bundle.users.rows([user])[0]))
    return set(np.asarray(version.bundle.videos.ids_of_known(rows.astype(np.int64))).tolist())


@given(data=st.data())
def test_it_answers_from_what_is_there_by_then(
    data: st.DataObject, bundle: Bundle, string: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    users, videos, new = ids_for(string)
    there = dict.fromkeys(videos)
    with Version(Bundle.open(bundle.folder), tmp_path_factory.mktemp("live") / "index") as version:
        for _ in range(data.draw(st.integers(1, 6))):
            video = data.draw(st.sampled_from([*videos[:4], *new]))
            if data.draw(st.booleans()):
                version.put([video], [{"tags": data.draw(st.sampled_from([["a"], ["b"], ["a", "b"], []]))}])
                there[video] = None
            else:
                version.remove([video])
                there.pop(video, None)
        user, excluded = users[2], data.draw(st.sets(st.sampled_from([*videos, *new]), max_size=5))
        found = version.retriever.answer(Ask(user, 60, list(excluded)))
        check_best(version, found, user, [v for v in there if v not in excluded | seen_by(version, user)])


def test_the_vector_of_a_video_that_comes_is_that_of_its_features(version: Version, string: bool) -> None:
    _, videos, new = ids_for(string)
    version.put(new[:2], [{"tags": ["a"]}, {"tags": ["b"]}])
    version.put([videos[1]], [{"tags": ["a", "b"]}])  # known as ["a"]
    rows = version.bundle.videos.rows([*new[:2], videos[1]])
    expected = arrived_vectors(version.bundle, rows, [{"tags": ["a"]}, {"tags": ["b"]}, {"tags": ["a", "b"]}])
    np.testing.assert_array_equal(version.retriever.embed_videos([*new[:2], videos[1]]), expected)
    untouched = Bundle.open(version.bundle.folder).vectors
    row = int(rows[2])
    assert np.abs(expected[0] - expected[1]).max() > 0.01
    assert np.abs(expected[2] - untouched[row]).max() > 0.01
    np.testing.assert_array_equal(untouched[row + 1], version.bundle.vectors[row + 1])


def test_what_the_bundle_knows_of_a_video_gives_its_vector(version: Version, string: bool) -> None:
    _, videos, _ = ids_for(string)
    said = [{"tags": ["a", "b"][: n % 3]} for n in range(tiny.VIDEOS)]
    rows = version.bundle.videos.rows(videos)
    np.testing.assert_allclose(arrived_vectors(version.bundle, rows, said), version.bundle.vectors[rows], atol=1e-6)


def test_what_was_watched_since_is_read_and_hidden(version: Version, string: bool) -> None:
    users, videos, new = ids_for(string)
    version.put(new[:3], [{"tags": ["a"]}, {"tags": ["b"]}, {}])
    user = users[5]
    before = _timed(version, user)
    for since in ([(new[0], DAY_MS), (videos[30], DAY_MS + 1)], [(new[1], 1500)], [before[-1], (new[2], DAY_MS)]):
        found = version.retriever.answer(Ask(user, 60, since=since, time_ms=2 * DAY_MS))
        both = sorted(dict.fromkeys([*before, *since]), key=lambda pair: pair[1])
        wanted = version.retriever.answer(Ask(user, 60, history=both, time_ms=2 * DAY_MS))
        assert (list(found.ids), found.way) == (list(wanted.ids), Way.history)
        np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-6)
        assert not {video for video, _ in since} & set(found.ids)
    plain = version.retriever.answer(Ask(user, 60, time_ms=2 * DAY_MS))
    assert np.abs(plain.scores[:5] - found.scores[:5]).max() > 1e-4


@pytest.mark.parametrize("repeats", ["first", "all", None])
def test_of_a_video_watched_again_counts_what_counted_in_training(
    bundle: Bundle, string: bool, repeats: str | None, tmp_path: Path
) -> None:
    users, videos, _ = ids_for(string)
    read = Bundle.open(bundle.folder)
    read.manifest["repeats"] = repeats
    with Version(read, tmp_path / "live") as version:
        user = users[5]
        before = [video for video, _ in _timed(version, user)]
        assert len(before) > 1
        other, another = [video for video in videos if video not in before][:2]
        since = [(before[0], DAY_MS), (other, DAY_MS + 1), (another, DAY_MS + 2), (other, DAY_MS + 3)]

        def scores(**asked: Any) -> list[float]:  # noqa: ANN401
            found = version.retriever.answer(Ask(user, 60, time_ms=2 * DAY_MS, **asked))
            assert not {video for video, _ in since} & set(found.ids)
            return [round(score, 5) for score in found.scores.tolist()]

        once, each = scores(since=since[1:3]), scores(history=[*_timed(version, user), *since])
        assert scores(since=since) == (once if repeats == "first" else each)
        assert (once == each) == (repeats == "first")


def _timed(version: Version, user: Any) -> list[tuple[Any, int]]:  # noqa: ANN401
    """What a bundle knows of a user: videos, and when they were watched."""
    row, positives = int(version.bundle.users.rows([user])[0]), version.bundle.positives
    videos = version.bundle.videos.ids_of_known(positives.of(row).astype(np.int64))
    times = np.asarray(positives.time_ms)[positives.offsets[row] : positives.offsets[row + 1]]
    return list(zip(np.asarray(videos).tolist(), times.tolist(), strict=True))


def test_a_forgotten_user_is_served_as_new(version: Version, string: bool) -> None:
    users, videos, _ = ids_for(string)
    nobody = version.retriever.answer(Ask(None, 60))
    forgotten = version.retriever.answer(Ask(users[5], 60, forgotten=True))
    assert (list(forgotten.ids), forgotten.way) == (list(nobody.ids), Way.new_user)
    again = version.retriever.answer(Ask(users[5], 60, since=[(videos[3], DAY_MS)], forgotten=True))
    assert list(again.ids) == list(version.retriever.answer(Ask(None, 60, since=[(videos[3], DAY_MS)])).ids)


def test_filters_know_what_came_and_what_was_said_anew(version: Version, string: bool) -> None:
    users, videos, new = ids_for(string)
    user = users[2]
    of_a = {videos[n] for n in range(tiny.VIDEOS) if n % 3} - seen_by(version, user)
    only = version.filtered({"tags": "a"}, {})
    assert set(only.answer(Ask(user, 60)).ids) == of_a
    assert version.filtered({"tags": ["a"]}, {}) is only
    del only
    known = [weakref.ref(mask) for mask in version.catalogue.index.moment.main.masks()]
    version.put([new[0], new[1], videos[1]], [{"tags": ["a"]}, {"tags": ["b"]}, {"tags": []}])
    gc.collect()
    assert known
    assert all(mask() is not None for mask in known)  # so indexes need not find anew who had the value before
    assert set(version.filtered({"tags": "a"}, {}).answer(Ask(user, 60)).ids) == (of_a | {new[0]}) - {videos[1]}
    without = version.filtered({}, {"tags": "a"}).answer(Ask(user, 60)).ids
    assert {new[1], videos[1]} - seen_by(version, user) <= set(without)
    assert new[0] not in without
    assert set(version.filtered({}, {"tags": "no such"}).answer(Ask(user, 60)).ids) >= of_a - {videos[1]}
    with pytest.raises(ConfigError, match="'color'"):
        version.filtered({"color": "red"}, {})


@given(data=st.data())
def test_filters_follow_what_is_said_of_videos_and_others_stay_as_they_are(
    data: st.DataObject, bundle: Bundle, string: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    users, videos, new = ids_for(string)
    tags = {video: set(["a", "b"][: place % 3]) for place, video in enumerate(videos)}
    with Version(Bundle.open(bundle.folder), tmp_path_factory.mktemp("live") / "index") as version:
        seen = seen_by(version, users[2])
        gone: set[Any] = set()
        for _ in range(data.draw(st.integers(1, 6))):
            before = {
                value: version.filtered({"tags": value}, {}) for value in data.draw(st.sets(st.sampled_from("abc")))
            }
            some = data.draw(st.lists(st.sampled_from([*videos[:6], *new[:3]]), min_size=1, max_size=3, unique=True))
            was = {video: tags.get(video, set()) for video in some}
            now = {video: data.draw(st.sets(st.sampled_from("abc"))) for video in some}
            version.put(some, [{"tags": sorted(now[video])} for video in some])
            tags |= now
            gone -= now.keys()
            if data.draw(st.booleans()):
                gone.add(video := data.draw(st.sampled_from(some)))
                version.remove([video])
            hidden = seen | gone
            for value, kept in before.items():
                having = {each for each, those in tags.items() if value in those}
                only = version.filtered({"tags": value}, {})
                assert (only is kept) == all(value not in was[video] ^ now[video] for video in some)
                assert set(only.answer(Ask(users[2], 60)).ids) == having - hidden
                without = version.filtered({}, {"tags": [value, "d"]}).answer(Ask(users[2], 60))
                assert set(without.ids) == tags.keys() - having - hidden
            nobody = [value for value in "abc" if not any(value in those for those in tags.values())]
            unmet = version.retriever.chooser.unmet({"tags": ["a", "b", "c"]})
            assert unmet == [f"tags {value!r}" for value in nobody]


def test_the_popular_need_no_towers(version: Version, string: bool) -> None:
    users, _, _ = ids_for(string)
    rows = np.asarray(version.bundle.positives.video_row)
    counts = np.bincount(rows, minlength=tiny.VIDEOS + 2)
    first, second = version.bundle.videos.ids_of_known(np.argsort(-counts, kind="stable")[:2])
    assert list(version.popular(Ask(None, 2)).ids) == [first, second]
    assert not set(version.popular(Ask(users[2], 60)).ids) & seen_by(version, users[2])
    kept = version.popular(Ask(users[2], 60, keep_seen=True)).ids
    assert set(version.popular(Ask(users[2], 60)).ids) == set(kept) - seen_by(version, users[2])
    version.remove([first])
    found = version.popular(Ask(None, 2, exclude=[second]))
    assert found.way is Way.popular
    assert not {first, second} & set(found.ids)
    assert len(found) == 2


def test_an_event_that_is_dated_ahead_ends_no_log(bundle: Bundle, tmp_path: Path) -> None:
    opened = Bundle.open(bundle.folder)
    known = opened.positives
    ahead = np.array(known.time_ms)
    ahead[len(ahead) // 2] = 2**50
    opened.positives = replace(known, time_ms=ahead)
    with Version(Bundle.open(bundle.folder), tmp_path / "one") as right, Version(opened, tmp_path / "two") as version:
        assert version.knows_until_ms == right.knows_until_ms
        assert list(version.popular(Ask(None, 9)).ids) == list(right.popular(Ask(None, 9)).ids)


def test_an_index_that_cannot_live_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", Dataset.open(tiny_dataset))
    bundle = publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Hnsw()))
    with pytest.raises(ConfigError, match="hnsw cannot live"):
        Version(bundle, tmp_path / "live")


def test_lists_live_too_and_files_are_shared(tiny_dataset: Path, tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", Dataset.open(tiny_dataset))
    bundle = publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Ivf(nlist=2)))
    saved = [path for path in (bundle.folder / "index").rglob("*") if path.is_file()]
    assert saved
    with Version(bundle, tmp_path / "live") as version:
        assert all(path.stat().st_nlink == 2 for path in saved)
        version.put([5], [{"tags": ["a"]}])
        assert 5 in version.retriever.answer(Ask(None, 60)).ids
    assert not (tmp_path / "live").exists()
    assert all(path.stat().st_nlink == 1 for path in saved)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({"color": "red"}, "no feature 'color'; this bundle reads: tags"),
        ({"tags": "a"}, "tags is 'a'; expected a list of names"),
        ({"tags": ["a", None]}, "tags is"),
        ({"tags": [True]}, "tags is"),
    ],
)
def test_what_is_said_of_a_video_is_checked(bundle: Bundle, features: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_features(bundle, features)


def test_what_is_asked_together_is_answered_as_if_alone(version: Version, string: bool) -> None:
    users, videos, new = ids_for(string)
    version.put(new[:2], [{"tags": ["a"]}, {}])
    asks = [Ask(user, k, exclude=videos[:k]) for k, user in enumerate(users[:9], start=1)]
    asks += [Ask(users[3], 60, since=[(new[0], DAY_MS)], time_ms=2 * DAY_MS), Ask(None, 60), Ask(users[0], 5)]
    wishes = [Wish(ask, Shown()) for ask in asks]
    wishes += [Wish(asks[0], Shown(only={"tags": "a"})), Wish(asks[1], Shown(allow=videos[:6])), Wish(asks[1], Shown())]
    for wish, found in zip(wishes, answer_together(version, wishes), strict=True):
        (alone,) = answer_together(version, [wish])
        assert isinstance(found, Candidates)
        assert isinstance(alone, Candidates)
        assert (list(found.ids), found.way, found.short_because) == (list(alone.ids), alone.way, alone.short_because)
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)


def test_of_those_who_ask_together_only_who_asks_nonsense_is_refused(version: Version, string: bool) -> None:
    users, _, _ = ids_for(string)
    odd: Any = 7 if string else "text"
    asks = [Ask(users[2], 5), Ask(odd, 5), Ask(users[3], 5, exclude=[odd]), Ask(users[4], 5)]
    wishes = [*(Wish(ask, Shown()) for ask in asks), Wish(asks[0], Shown(only={"color": "red"}))]
    found = answer_together(version, wishes)
    assert [type(each) for each in found] == [Candidates, DataError, DataError, Candidates, ConfigError]


@pytest.mark.parametrize("index", [Exact(), Ivf(nlist=4)])
def test_a_version_that_is_left_is_gone_at_once_with_its_files(index: Index, tmp_path: Path) -> None:
    dataset = tiny.write_dataset(tmp_path / "dataset")
    run = tiny.write_run(tmp_path / "run", dataset)
    folder = publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=index)).folder

    def used() -> weakref.ref[object]:
        with Version(Bundle.open(folder), tmp_path / "live") as version:
            version.warm()
            version.prepare()
            version.filtered({"tags": ["a"]}, {}).answer(Ask(None, 5, [tiny.ids_of(tiny.VIDEOS, string=False)[0]]))
            return weakref.ref(version.bundle.index)

    used()
    gc.collect()
    gc.disable()  # what waits for the collector keeps files of removed versions open
    try:
        assert used()() is None
    finally:
        gc.enable()


def test_indexes_of_no_service_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "mine").touch()
    with pytest.raises(ConfigError, match="indexes is of no service, which would remove it; give state= a new folder"):
        locked(tmp_path)
    assert (tmp_path / "indexes" / "mine").exists()
