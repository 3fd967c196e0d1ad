"""Ids in, ids out: the right rows, nothing seen, nothing empty without a reason."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests import tiny
from towers.data import Dataset, Split
from towers.evaluation import EvaluationSet, rank
from towers.index import Exact, Ivf
from towers.models import HstuHistory, PopularityTerm, load_towers, open_run, save_towers
from towers.publishing import Histories, PublishConfig, publish
from towers.serving import Candidates, Retriever, Unknown, Way
from towers.serving.asking import Ask
from towers.types import BundleError, ConfigError, DataError, UnknownIdError

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
NOBODY, NOTHING = 2**60, 2**61


@pytest.fixture(scope="module")
def retriever(tiny_bundle: Path) -> Retriever:
    return Retriever.open(tiny_bundle)


@pytest.fixture(scope="module")
def strict(tiny_bundle: Path) -> Retriever:
    return Retriever.open(tiny_bundle, unknown=Unknown.refuse)


@pytest.fixture(scope="module")
def seen(tiny_dataset: Path) -> dict[Any, set[Any]]:
    dataset = Dataset.open(tiny_dataset)
    positives = dataset.positives()
    return {user: set(dataset.videos.ids(positives.of(row + 2))) for row, user in enumerate(USERS)}


def check_same(some: Candidates, other: Candidates) -> None:
    assert list(some.ids) == list(other.ids)
    np.testing.assert_allclose(some.scores, other.scores, atol=1e-6)
    assert (some.way, some.short_because) == (other.way, other.short_because)


def test_candidates_are_the_best_unseen_by_inner_product(retriever: Retriever, seen: dict[Any, set[Any]]) -> None:
    for user in USERS[2:]:
        found = retriever.candidates(user, k=5)
        unseen = np.array([video for video in VIDEOS if video not in seen[user]])
        scores = retriever.embed_videos(unseen) @ retriever.embed_users([user])[0]
        best = np.argsort(-scores, kind="stable")[:5]
        assert list(found.ids) == unseen[best].tolist()
        np.testing.assert_allclose(found.scores, scores[best], atol=1e-6)
        assert (found.way, found.short_because, found.dropped) == (Way.history, "", 0)


@pytest.mark.parametrize("own", [False, True])
def test_with_the_past_alone_it_ranks_as_the_offline_evaluation(own: bool, tiny_dataset: Path, tmp_path: Path) -> None:
    written = tiny.write_run(tmp_path / "run", Dataset.open(tiny_dataset), user_id=own)
    config = PublishConfig(
        run=str(written), bundle=str(tmp_path / "bundle"), index=Ivf(nlist=1), histories=Histories.past
    )
    publish(config)
    retriever, run = Retriever.open(tmp_path / "bundle"), open_run(written)
    dataset = Dataset.open(run.dataset)
    users = EvaluationSet.of(dataset, Split.test)
    ranked = rank(
        run.towers,
        users,
        retriever.bundle.user_features,
        retriever.bundle.features_of(np.arange(len(retriever.bundle.vectors))),
        depth=10,
    )
    assert len(users) > 15
    for place, user in enumerate(dataset.users.ids(users.users)):
        found = retriever.candidates(user, k=10)
        rows = ranked.ids[place][ranked.ids[place] >= 0]
        assert list(found.ids) == list(dataset.videos.ids(rows))
        np.testing.assert_allclose(found.scores, ranked.scores[place][: len(rows)], atol=1e-6)


def test_a_user_s_own_vector_is_for_that_user_alone(tiny_dataset: Path, tmp_path: Path) -> None:
    run = tiny.write_run(tmp_path / "run", Dataset.open(tiny_dataset), user_id=True)
    publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact()))
    retriever, history = Retriever.open(tmp_path / "bundle"), VIDEOS[3:9]
    asked: list[Any] = [USERS[2], USERS[4], USERS[-4], USERS[-2], None, NOBODY]  # those of the dataset are as young
    one, other, late, later, nobody, stranger = (
        retriever.candidates(user, k=len(VIDEOS), history=history, keep_seen=True).scores for user in asked
    )
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_array_equal(late, later)
    np.testing.assert_array_equal(nobody, stranger)
    assert np.abs(late - nobody).max() > 0.01  # the age


def test_it_says_what_it_answers_from(retriever: Retriever) -> None:
    told = f"{len(retriever.bundle.videos) - 2:,} videos of version {retriever.bundle.version}"
    assert repr(retriever) == f"Retriever({told})"
    assert repr(retriever.without(ids=[])) == f"Retriever(some of {told})"


def test_ids_of_strings_come_back_as_strings(tmp_path: Path, retriever: Retriever) -> None:
    run = tiny.write_run(tmp_path / "run", tiny.write_dataset(tmp_path / "dataset", string=True))
    publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact()))
    strings = Retriever.open(tmp_path / "bundle")
    found = strings.candidates("id 005", k=4, exclude=["id 030"], history=["id 001", "id 009"])
    twin = retriever.candidates(USERS[5], k=4, exclude=[VIDEOS[30]], history=[VIDEOS[1], VIDEOS[9]])
    assert found.ids == [f"id {VIDEOS.index(video):03d}" for video in twin.ids]
    assert strings.similar("id 003", k=2).ids[0] != "id 003"
    with pytest.raises(DataError, match="ids such as 5 are int64, but the dataset's ids are string"):
        strings.candidates(5)


def test_a_user_who_has_seen_everything_is_told_so(retriever: Retriever) -> None:
    found = retriever.candidates(USERS[tiny.SEEN_ALL], k=10)
    assert (len(found), str(np.asarray(found.ids).dtype)) == (0, "int64")
    assert found.short_because == "asked for 10; of 40 videos 40 are seen and 0 excluded, 0 are left"
    again = retriever.candidates(USERS[tiny.SEEN_ALL], k=10, keep_seen=True)
    assert (len(again), again.short_because) == (10, "")


def test_more_than_the_catalogue_gives_all_with_the_reason(retriever: Retriever) -> None:
    found = retriever.candidates(USERS[tiny.SEEN_NOTHING], k=10**12)
    assert sorted(found.ids) == VIDEOS
    assert found.short_because == "asked for 1000000000000; of 40 videos 0 are seen and 0 excluded, 40 are left"
    assert found.way == "features"
    assert len(retriever.similar(VIDEOS[3], k=100)) == 39
    assert "the video itself, 39 are left" in retriever.similar(VIDEOS[3], k=100).short_because


def test_excluded_videos_are_not_shown_and_unknown_ones_change_nothing(retriever: Retriever) -> None:
    user = USERS[tiny.SEEN_NOTHING]
    first = retriever.candidates(user, k=3).ids
    rest = retriever.candidates(user, k=40, exclude=[*first, NOTHING])
    assert rest.short_because == "asked for 40; of 40 videos 0 are seen and 3 excluded, 37 are left"
    assert set(rest.ids) == set(VIDEOS) - set(first)
    check_same(retriever.candidates(user, k=3, exclude=[NOTHING]), retriever.candidates(user, k=3))


def test_a_history_stands_in_for_the_users_own(retriever: Retriever, seen: dict[Any, set[Any]]) -> None:
    watched = [VIDEOS[7], VIDEOS[2]]
    new = retriever.candidates(k=40, history=watched)
    assert (new.way, set(new.ids)) == (Way.history, set(VIDEOS) - set(watched))
    known = retriever.candidates(USERS[6], k=40, history=watched)
    assert set(known.ids) == set(VIDEOS) - set(watched) - seen[USERS[6]]
    shown_again = retriever.candidates(k=40, history=watched, keep_seen=True)
    assert set(shown_again.ids) == set(VIDEOS)
    reverse = retriever.candidates(k=40, history=watched[::-1], keep_seen=True)
    assert np.abs(reverse.scores - shown_again.scores).max() > 1e-4


@pytest.fixture(scope="module")
def timed(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Retriever:
    """Towers that look at times."""
    root, dataset = tmp_path_factory.mktemp("timed"), Dataset.open(tiny_dataset)
    run = tiny.write_run(root / "run", dataset, history=HstuHistory())
    towers = load_towers(run / "towers")
    for name, weights in towers.named_parameters():
        if "by_time" in name:
            torch.nn.init.normal_(weights, std=3)
    save_towers(towers, run / "towers")
    publish(PublishConfig(run=str(run), bundle=str(root / "bundle"), index=Exact()))
    return Retriever.open(root / "bundle")


def test_a_history_given_with_its_times_is_as_good_as_the_users_own(timed: Retriever) -> None:
    user = next(user for row, user in enumerate(USERS) if 3 < timed.bundle.positives.counts()[row + 2] < 10)
    row = int(timed.bundle.users.rows([user])[0])
    watched = timed.bundle.videos.ids(timed.bundle.positives.of(row))
    when = timed.bundle.positives.times_of(row)
    own = timed.candidates(user, k=40)
    given = timed.candidates(user, k=40, history=list(zip(watched, when.tolist(), strict=True)))
    check_same(given, own)
    untimed = [timed.candidates(user, k=40, history=h) for h in (watched, [(video, None) for video in watched])]
    check_same(*untimed)
    assert np.abs(np.sort(untimed[0].scores) - np.sort(own.scores)).max() > 1e-4
    later = timed.candidates(user, k=40, time_ms=int(when[-1]) + 10**10)
    assert np.abs(np.sort(later.scores) - np.sort(own.scores)).max() > 1e-4


def test_a_history_of_which_some_have_a_time_is_refused(retriever: Retriever) -> None:
    with pytest.raises(ConfigError, match=r"history has 1 pairs \(video, time_ms\) of 2; expected all or none"):
        retriever.candidates(history=[(VIDEOS[3], 5), VIDEOS[4]])


def test_only_the_newest_events_of_a_long_history_are_read(retriever: Retriever) -> None:
    newest = VIDEOS[:10]
    long = retriever.candidates(k=40, history=[*VIDEOS[10:], *newest], keep_seen=True)
    check_same(long, retriever.candidates(k=40, history=newest, keep_seen=True))


def test_the_moment_changes_the_answer(retriever: Retriever) -> None:
    user = USERS[4]
    unknown, monday, tuesday = (
        retriever.candidates(user, k=40, time_ms=moment).scores for moment in (None, 4 * 86_400_000, 5 * 86_400_000)
    )
    assert np.abs(unknown - monday).max() > 1e-4
    assert np.abs(monday - tuesday).max() > 1e-4


def test_an_unknown_user_is_served_as_new_or_refused(retriever: Retriever, strict: Retriever) -> None:
    found = retriever.candidates(NOBODY, k=3)
    assert (found.way, len(found)) == (Way.new_user, 3)
    check_same(found, retriever.candidates(k=3))
    np.testing.assert_array_equal(retriever.embed_users([NOBODY]), retriever.embed_users([NOBODY + 1]))
    message = f"user {NOBODY} is not among the bundle's 24 users; it is mistyped, or newer than the bundle"
    with pytest.raises(UnknownIdError, match=message):
        strict.candidates(NOBODY)
    with pytest.raises(UnknownIdError, match=message):
        strict.embed_users([USERS[0], NOBODY])


def test_unknown_videos_of_a_history_are_counted_or_refused(retriever: Retriever, strict: Retriever) -> None:
    found = retriever.candidates(k=5, history=[NOTHING, VIDEOS[3], NOTHING + 1])
    assert found.dropped == 2
    check_same(found, retriever.candidates(k=5, history=[VIDEOS[3]]))
    lost = retriever.candidates(k=5, history=[NOTHING])
    assert (lost.way, lost.dropped) == (Way.new_user, 1)
    with pytest.raises(UnknownIdError, match=f"video {NOTHING} is not among the bundle's 40 videos"):
        strict.candidates(k=5, history=[VIDEOS[3], NOTHING])


def test_similar_videos_never_hold_the_video_itself(retriever: Retriever) -> None:
    for video in VIDEOS:
        found = retriever.similar(video, k=5)
        assert video not in found.ids
        others = [other for other in VIDEOS if other != video]
        scores = retriever.embed_videos(others) @ retriever.embed_videos([video])[0]
        assert found.ids[0] == others[int(scores.argmax())]
        assert (found.way, len(found)) == (Way.video, 5)


def test_popularity_moves_candidates_but_not_what_is_similar(tmp_path: Path) -> None:
    dataset = tiny.write_dataset(tmp_path / "dataset")
    run = tiny.write_run(tmp_path / "run", dataset, popularity=PopularityTerm.recent)
    retriever = Retriever.open(
        publish(PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact())).folder
    )
    found = retriever.candidates(USERS[2], k=5, keep_seen=True)
    vectors, query = retriever.embed_videos(VIDEOS), retriever.embed_users([USERS[2]])[0]
    assert list(found.ids) == np.array(VIDEOS)[np.argsort(-vectors @ query)[:5]].tolist()
    assert list(found.ids) != np.array(VIDEOS)[np.argsort(-vectors[:, :-1] @ query[:-1])[:5]].tolist()
    alike = vectors[:, :-1] @ vectors[3, :-1]
    alike[3] = -np.inf
    assert list(retriever.similar(VIDEOS[3], k=5).ids) == np.array(VIDEOS)[np.argsort(-alike)[:5]].tolist()


def test_users_of_several_interests_get_the_best_of_each(tmp_path: Path) -> None:
    dataset = tiny.write_dataset(tmp_path / "dataset")
    run = tiny.write_run(tmp_path / "run", dataset, interests=3)
    config = PublishConfig(run=str(run), bundle=str(tmp_path / "bundle"), index=Exact(), histories=Histories.past)
    retriever = Retriever.open(publish(config).folder)
    queries, vectors = retriever.embed_users(USERS), retriever.embed_videos(VIDEOS)
    assert queries.shape == (len(USERS), 3, 16)
    scores = np.einsum("uid,nd->uin", queries, vectors)
    assert len(np.unique(scores.max(axis=2).argmax(axis=1))) > 1
    for user, best in zip(USERS, scores.max(axis=1), strict=True):
        found = retriever.candidates(user, k=6, keep_seen=True)
        assert list(found.ids) == np.array(VIDEOS)[np.argsort(-best)[:6]].tolist()
    users = EvaluationSet.of(dataset, Split.test)
    bundle = retriever.bundle
    lists = rank(bundle.towers, users, bundle.user_features, bundle.features_of(np.arange(len(bundle.vectors))), 6)
    for user, rows in zip(dataset.users.ids(users.users), lists.ids, strict=True):
        served = retriever.candidates(user, k=6)
        assert bundle.videos.rows(served.ids).tolist() == rows[rows >= 0].tolist()


def test_videos_that_are_unknown_have_no_vector(retriever: Retriever) -> None:
    with pytest.raises(UnknownIdError, match=f"video {NOTHING} is not among the bundle's 40 videos; it is mistyped"):
        retriever.embed_videos([VIDEOS[0], NOTHING])
    with pytest.raises(UnknownIdError, match=f"video {NOTHING}"):
        retriever.similar(NOTHING)


def test_a_batch_is_its_users_one_by_one(retriever: Retriever) -> None:
    users = [*USERS, NOBODY]
    for keep_seen in (False, True):
        batch = retriever.candidates_batch(users, k=7, keep_seen=keep_seen)
        for user, found in zip(users, batch, strict=True):
            check_same(found, retriever.candidates(user, k=7, keep_seen=keep_seen))
    assert retriever.candidates_batch([], k=7) == []


def test_embeddings_have_one_row_per_id_in_the_order_asked(retriever: Retriever) -> None:
    assert retriever.embed_users(USERS[:3]).shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(retriever.embed_users(USERS), axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(retriever.embed_videos(VIDEOS[::-1]), retriever.embed_videos(VIDEOS)[::-1])
    assert retriever.embed_users([]).shape == (0, 16)


def test_bad_requests_are_refused(retriever: Retriever, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="k is 0; ask for at least 1 candidate"):
        retriever.candidates(USERS[3], k=0)
    with pytest.raises(ConfigError, match="k is 0; ask for at least 1 candidate"):
        retriever.answers([Ask(USERS[3], 7), Ask(USERS[3], 0)])
    with pytest.raises(DataError, match="ids such as 'anna' are string, but the dataset's ids are int64"):
        retriever.candidates("anna")
    with pytest.raises(BundleError, match="is no bundle"):
        Retriever.open(tmp_path)


@pytest.mark.parametrize("index", [Exact(), Ivf(nlist=2)])
def test_an_open_bundle_answers_after_its_version_is_removed(
    index: Exact | Ivf, tiny_run: Path, tmp_path: Path, retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    publish(PublishConfig(run=str(tiny_run), bundle="bundle", index=index))
    opened = Retriever.open("bundle")
    shutil.rmtree(tmp_path / "bundle")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(opened.embed_users(USERS), retriever.embed_users(USERS))
    np.testing.assert_array_equal(opened.embed_videos(VIDEOS), retriever.embed_videos(VIDEOS))
    check_same(opened.candidates(k=1, history=VIDEOS[:3]), retriever.candidates(k=1, history=VIDEOS[:3]))
    assert len(opened.candidates(USERS[5], k=3)) == len(opened.similar(VIDEOS[0], k=3)) == 3
    assert opened.bundle.user_table().equals(retriever.bundle.user_table())
    assert opened.bundle.video_table().equals(retriever.bundle.video_table())


def test_one_text_in_place_of_a_list_is_refused(retriever: Retriever) -> None:
    for name, ask in {
        "history": lambda text: retriever.candidates(history=text),
        "exclude": lambda text: retriever.candidates(exclude=text),
        "user_ids": retriever.embed_users,
        "video_ids": retriever.embed_videos,
    }.items():
        with pytest.raises(
            ConfigError, match=rf"^{name} is the text 'v001'; expected a list of ids, as in \['v001'\]$"
        ):
            ask("v001")
    with pytest.raises(ConfigError, match="user_ids is the text 'v001'"):
        retriever.candidates_batch("v001")
