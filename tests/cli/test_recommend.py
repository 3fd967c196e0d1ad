import io
import re
import shlex
import sys
from pathlib import Path

import pytest

from tests.tiny import SEEN_ALL, SEEN_NOTHING, VIDEOS, ids_of
from towers.cli import main
from towers.cli.recommend import RecommendConfig, recommend
from towers.cli.show import console
from towers.cli.verbs import VERBS
from towers.types import ConfigError

USERS = ids_of(24, string=False)
Captured = pytest.CaptureFixture[str]


def test_the_table_holds_rank_id_score_and_what_is_known(tiny_bundle: Path) -> None:
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user=str(USERS[5]), k=4))
    assert shelf.header == ["rank", "video", "score", "tags"]
    assert [row[0] for row in shelf.rows] == ["1", "2", "3", "4"]
    scores = [float(row[2]) for row in shelf.rows]
    assert scores == sorted(scores, reverse=True)
    tags = {str(video): ", ".join(["a", "b"][: n % 3]) for n, video in enumerate(ids_of(VIDEOS, string=False))}
    assert all(tags[row[1]] == row[3] for row in shelf.rows)
    assert re.fullmatch(
        r"from the (newest \d of the )?\d+ videos they watched; bundle version 000001-\w{8}", shelf.notes[0]
    )


def test_it_prints_plain_text_where_there_is_no_terminal(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["recommend", f"bundle={tiny_bundle}", f"user={USERS[5]}", "k=3"]) == 0
    told = capsys.readouterr().out
    assert "\x1b" not in told
    lines = told.splitlines()
    assert lines[1].split() == ["rank", "video", "score", "tags"]
    assert [line.split()[0] for line in lines[3:6]] == ["1", "2", "3"]


def test_a_user_nobody_knows_is_served_from_the_history_given(tiny_bundle: Path) -> None:
    videos = [str(video) for video in ids_of(VIDEOS, string=False)[:2]]
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user="5", history=[*videos, "6"], k=VIDEOS))
    first, second = shelf.notes[0].split("\n")
    assert first.startswith("not in the bundle; served as new, from the 2 videos given; bundle version 000001-")
    assert second == "not in the bundle, so left out, 1 of the 3 videos given: 6"
    assert not set(videos) & {row[1] for row in shelf.rows}


def test_a_history_is_enough(tiny_bundle: Path) -> None:
    videos = [str(video) for video in ids_of(VIDEOS, string=False)[:2]]
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), history=videos, k=3))
    assert shelf.user == "without an id"
    assert len(shelf.rows) == 3


@pytest.mark.parametrize("example", VERBS["recommend"].examples)
def test_the_examples_of_the_help_answer_where_ids_are_whole_numbers(example: str, tiny_bundle: Path) -> None:
    words = [word for word in shlex.split(example)[1:] if not word.startswith("bundle=")]
    assert main([*words, f"bundle={tiny_bundle}"]) == 0


def test_neither_user_nor_history_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"whose candidates\? give user=ID, or the videos somebody watched: history="):
        RecommendConfig(bundle="somewhere")
    with pytest.raises(ConfigError, match=r"user is empty; give an id, or leave it out and give a history="):
        RecommendConfig(bundle="somewhere", user="")


def test_a_user_without_a_past_is_served_from_features(tiny_bundle: Path) -> None:
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user=str(USERS[SEEN_NOTHING])))
    assert shelf.notes[0].startswith("from the features of the user alone, without a history; bundle version")


def test_a_user_nobody_knows_is_told_so_above_the_table(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["recommend", f"bundle={tiny_bundle}", "user=7", "k=3"]) == 0
    told = "user 7: not in the bundle; served as new, with neither a history nor features; bundle version 000001-"
    assert capsys.readouterr().out.startswith(told)


def test_a_history_that_the_bundle_does_not_know_is_warned_of_above_the_table(
    tiny_bundle: Path, capsys: Captured
) -> None:
    assert main(["recommend", f"bundle={tiny_bundle}", "history=[1,2,3,4,5,6]", "k=3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("user without an id: served as new, with neither a history nor features;")
    told = (
        "warning: no video of the history given is in the bundle, so it told nothing about the user: 1, 2, 3, 4, 5, …"
    )
    assert lines[1] == told
    assert lines[2].split() == ["rank", "video", "score", "tags"]


def test_only_the_newest_videos_are_said_to_count(tiny_bundle: Path) -> None:
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user=str(USERS[SEEN_ALL])))
    assert re.match(rf"from the newest \d+ of the {VIDEOS} videos they watched; ", shelf.notes[0])
    one = RecommendConfig(bundle=str(tiny_bundle), history=[str(ids_of(VIDEOS, string=False)[0])])
    assert recommend(one).notes[0].startswith("from the 1 video given; ")


def test_a_user_who_has_seen_everything_gets_an_empty_table_and_the_reason(tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["recommend", f"bundle={tiny_bundle}", f"user={USERS[SEEN_ALL]}"]) == 0
    told = capsys.readouterr().out
    assert told.endswith("asked for 20; of 40 videos 40 are seen and 0 excluded, 0 are left\n")


def test_more_than_the_catalogue_holds_says_how_many_are_left(tiny_bundle: Path) -> None:
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user=str(USERS[SEEN_NOTHING]), k=1000))
    assert len(shelf.rows) == VIDEOS
    assert shelf.notes[-1] == "asked for 1000; of 40 videos 0 are seen and 0 excluded, 40 are left"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["user=bob"], "user=bob: this bundle's ids are whole numbers"),
        (["user=7", "history=[1,x]"], "history=x: this bundle's ids are whole numbers"),
        (["user=7", "k=0"], "k is 0; expected at least 1"),
        (["user=9223372036854775808"], "user=9223372036854775808: this bundle's ids are whole numbers of 64 bits"),
    ],
)
def test_what_cannot_be_asked(words: list[str], message: str, tiny_bundle: Path, capsys: Captured) -> None:
    assert main(["recommend", f"bundle={tiny_bundle}", *words]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"


def test_the_width_of_plain_text_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setenv("COLUMNS", "20")
    assert console().width == 140


def test_only_videos_of_some_features_are_printed(tiny_bundle: Path, capsys: Captured) -> None:
    shelf = recommend(RecommendConfig(bundle=str(tiny_bundle), user=str(USERS[SEEN_NOTHING]), where={"tags": ["b"]}))
    assert len(shelf.rows) == 13
    assert {row[3] for row in shelf.rows} == {"a, b"}
    assert shelf.notes[1].startswith("asked for 20; of 40 videos 13 may be shown, of which 0 are seen")
    assert main(["recommend", f"bundle={tiny_bundle}", "user=7", "k=3", "where={tags:a}"]) == 0
    assert len(re.findall(r" a(?:, b)? *$", capsys.readouterr().out, re.MULTILINE)) == 3
    assert main(["recommend", f"bundle={tiny_bundle}", "user=7", "where={tags:[5,7]}"]) == 0
    said = capsys.readouterr().out
    assert "no video has tags 5, nor tags 7\n" in said
    assert "of 40 videos 0 may be shown" in said
    assert main(["recommend", f"bundle={tiny_bundle}", "user=7", "k=3", "where={tags:[a,z]}"]) == 0
    assert "no video has tags 'z'\n" in capsys.readouterr().out
    assert main(["recommend", f"bundle={tiny_bundle}", "user=7", "where={genre:[1,2]}"]) == 2
    assert "videos have no feature 'genre' to choose by; there are: tags" in capsys.readouterr().err


def test_a_mapping_that_the_shell_took_apart_is_told_as_such(capsys: Captured) -> None:
    assert main(["recommend", "bundle=b", "user=0", "where=tag:[9", "where=12]"]) == 2
    assert capsys.readouterr().err == (
        "error: cannot read the option 'where=tag:[9': a shell takes braces apart; quote all of it, as in "
        "'where={tag:[one,other]}'\n"
    )
