"""Videos chosen by features and by ids, against the table that says which videos have them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests import tiny
from towers.data import Kind
from towers.serving import Retriever
from towers.serving.chosen import _Column
from towers.types import ConfigError

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
NOBODY = USERS[tiny.SEEN_NOTHING]
TAGS = {video: {"a", "b"} & set(["a", "b"][: place % 3]) for place, video in enumerate(VIDEOS)}


@pytest.fixture(scope="module")
def retriever(tiny_bundle: Path) -> Retriever:
    return Retriever.open(tiny_bundle)


def shown(retriever: Retriever) -> set[Any]:
    return set(retriever.candidates(NOBODY, k=tiny.VIDEOS).ids)


def having(*tags: str) -> set[int]:
    return {video for video in VIDEOS if TAGS[video] & set(tags)}


def test_only_videos_that_have_a_value_are_shown(retriever: Retriever) -> None:
    assert shown(retriever.only({"tags": "b"})) == having("b")
    assert shown(retriever.only({"tags": ["a", "b"]})) == having("a", "b")
    assert shown(retriever.without({"tags": "b"})) == set(VIDEOS) - having("b")
    assert shown(retriever) == set(VIDEOS)


def test_what_is_left_is_in_the_order_of_all(retriever: Retriever) -> None:
    every = retriever.candidates(NOBODY, k=tiny.VIDEOS)
    left = retriever.only({"tags": "b"}).candidates(NOBODY, k=5)
    place = [row for row, video in enumerate(every.ids) if video in having("b")][:5]
    assert list(left.ids) == [every.ids[row] for row in place]
    np.testing.assert_array_equal(left.scores, every.scores[place])
    assert left.short_because == ""


def test_filters_follow_each_other(retriever: Retriever) -> None:
    some = VIDEOS[:20]
    assert shown(retriever.only({"tags": "a"}, ids=some)) == having("a") & set(some)
    assert shown(retriever.only({"tags": "a"}).only(ids=some)) == having("a") & set(some)
    assert shown(retriever.only({"tags": "a"}).without({"tags": "b"})) == having("a") - having("b")
    assert shown(retriever.without(ids=some).without({"tags": "b"})) == set(VIDEOS) - set(some) - having("b")
    assert shown(retriever.without({"tags": "b"}, ids=some)) == set(VIDEOS) - (set(some) & having("b"))


def test_a_value_or_an_id_that_nobody_has_finds_nothing_and_says_so(retriever: Retriever) -> None:
    for none in (retriever.only({"tags": ["c", 7]}), retriever.only(ids=[3, 2**61]), retriever.only(ids=[])):
        found = none.candidates(NOBODY, k=2)
        assert list(found.ids) == []
        assert found.short_because == (
            "asked for 2; of 40 videos 0 may be shown, of which 0 are seen and 0 excluded, 0 are left"
        )
    assert shown(retriever.only({"tags": ["c", "b"]})) == having("b")
    assert shown(retriever.without(ids=[3])) == set(VIDEOS)


def test_why_an_answer_is_short_counts_what_might_have_been_shown(retriever: Retriever) -> None:
    chosen = retriever.only({"tags": "b"})
    watched, blocked = VIDEOS[1:6], [VIDEOS[8], VIDEOS[9], 5]
    found = chosen.candidates(k=30, history=watched, exclude=blocked)
    assert set(found.ids) == having("b") - {*watched, *blocked}
    assert found.short_because == (
        "asked for 30; of 40 videos 13 may be shown, of which 2 are seen and 1 excluded, 10 are left"
    )
    alike = chosen.similar(VIDEOS[2], k=30)
    assert set(alike.ids) == having("b") - {VIDEOS[2]}
    assert alike.short_because == (
        "asked for 30; of 40 videos 13 may be shown, of which 0 are seen and the video itself, 12 are left"
    )
    several = chosen.candidates_batch(USERS[:3], k=5, keep_seen=True)
    assert all(set(each.ids) <= having("b") and len(each) == 5 for each in several)


def test_a_feature_that_there_is_not_is_answered_with_those_there_are(retriever: Retriever) -> None:
    with pytest.raises(ConfigError, match="videos have no feature 'region' to choose by; there are: tags"):
        retriever.only({"region": "DE"})


def test_what_is_no_name_is_refused(retriever: Retriever) -> None:
    with pytest.raises(ConfigError, match=r"tags is asked for True; give a name such as 'a', or a whole number"):
        retriever.without({"tags": True})
    with pytest.raises(ConfigError, match=r"ids is the text '12'; expected a list of ids, as in \['12'\]"):
        retriever.only(ids="12")
    with pytest.raises(ConfigError, match=r"which videos\? give where, as in {'tags': \['a', 'b'\]}, or ids"):
        retriever.only()


def test_an_empty_text_is_no_list(retriever: Retriever) -> None:
    with pytest.raises(ConfigError, match=r"ids is the text ''; expected a list of ids"):
        retriever.only(ids="")


def test_hiding_a_value_that_no_video_has_is_refused(retriever: Retriever) -> None:
    with pytest.raises(ConfigError, match="no video has tags 'adlut', so nothing would be hidden; it is mistyped"):
        retriever.without({"tags": ["a", "adlut"]})


def test_rows_of_a_column_of_numbers_with_holes() -> None:
    column = _Column.of(pa.chunked_array([[7, None], [3, 7]]), Kind.categorical)
    assert [column.rows(name).tolist() for name in ("7", "3", "None", "8")] == [[2, 5], [4], [], []]
    several = _Column.of(pa.chunked_array([[["x", "y"], None, []], [["y", None, "y"]]]), Kind.multi)
    assert [several.rows(name).tolist() for name in ("x", "y", "z")] == [[2], [2, 5, 5], []]
