"""The soak's judge, against answers that are right and answers that are wrong; and a short soak as a whole."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.soak.parts import republish
from benchmarks.soak.referee import Verdict, judge, seen_of
from benchmarks.soak.world import Id, Person, World
from tests import tiny
from towers.publishing import Bundle, current_name, version_names
from towers.serving.asking import Ask
from towers.serving.version import Version

USERS, VIDEOS = tiny.ids_of(tiny.USERS, string=False), tiny.ids_of(tiny.VIDEOS, string=False)
Reply = dict[str, Any]


@pytest.fixture
def version(tiny_bundle: Path, tmp_path: Path) -> Iterator[Version]:
    with Version(Bundle.open(tiny_bundle), tmp_path / "index") as own:
        yield own


@pytest.fixture
def world(version: Version) -> World:
    return World(version.bundle)


def person_of(world: World, user: int) -> Person:
    return next(each for each in world.people() if each.id == user)


def asked(version: Version, person: Person, body: dict[str, Any]) -> Reply:
    """Ask as the service does."""
    since = [(video, time_ms) for time_ms, video in person.watched]
    ask = Ask(person.id, body["k"], body.get("exclude", ()), since=since, time_ms=body.get("time_ms"))
    found = version.filtered(body.get("only", {}), body.get("without", {})).answer(ask)
    return {
        "video_ids": list(found.ids),
        "scores": found.scores.tolist(),
        "bundle_version": "000001",
        "history_known": True,
    }


def verdict(world: World, person: Person, body: dict[str, Any], reply: Reply, unsure: set[Id] | None = None) -> Verdict:
    return judge(world, [seen_of(world, person, body, reply, unsure or set())])[0]


BODIES: list[dict[str, Any]] = [
    {"k": 5},
    {"k": 60, "time_ms": 10**12},
    {"k": 7, "only": {"tags": "b"}},
    {"k": 60, "without": {"tags": "b"}},
    {"k": 9, "exclude": VIDEOS[3:20]},
]


def test_right_answers_have_no_faults_whatever_comes_and_goes(world: World, version: Version) -> None:
    person, chance = person_of(world, USERS[5]), random.Random(0)  # noqa: S311
    for turn in range(12):
        new = world.new_id()
        features = world.features(chance)
        put = new if turn % 2 else VIDEOS[turn]  # which changes what is known of it
        version.put([put], [features])
        world.put(put, features)
        person.met(str(turn), put if turn % 4 < 3 else VIDEOS[20 + turn], 10**12 + turn, positive=turn != 5)
        if turn % 4 == 3:
            version.remove([put])
            world.removed(put)
        for body in BODIES:
            found = verdict(world, person, body, asked(version, person, body))
            assert found.faults == []
            assert found.recall == 1.0


def test_a_history_with_what_came_and_went_is_not_known_for_certain(world: World, version: Version) -> None:
    person, body, new = Person(-1, 1), {"k": 5}, world.new_id()
    version.put([new], [{}])
    world.put(new, {})
    person.met("1", new, 5, positive=True)
    assert verdict(world, person, body, asked(version, person, body)).recall == 1.0
    version.remove([new])
    world.removed(new)
    found = verdict(world, person, body, asked(version, person, body))
    assert (found.faults, found.recall) == ([], None)


def altered(**changes: Callable[[Reply], Any]) -> Callable[[Reply], None]:
    def alter(reply: Reply) -> None:
        reply |= {name: change(reply) for name, change in changes.items()}

    return alter


def first_is(video: Id) -> Callable[[Reply], None]:
    return altered(video_ids=lambda reply: [video, *reply["video_ids"][1:]])


@pytest.mark.parametrize(
    ("body", "alter", "words"),
    [
        (BODIES[0], first_is(VIDEOS[0]), "was removed, or never there"),
        (BODIES[0], first_is(12345), "was removed, or never there"),
        (BODIES[0], first_is(VIDEOS[1]), "was watched or excluded"),
        (BODIES[4], first_is(VIDEOS[3]), "was watched or excluded"),
        (BODIES[2], first_is(VIDEOS[6]), "does not suit the filter"),
        (BODIES[3], first_is(VIDEOS[2]), "does not suit the filter"),
        (BODIES[0], altered(scores=lambda reply: [reply["scores"][0] + 0.01, *reply["scores"][1:]]), "its product is"),
        (BODIES[0], altered(scores=lambda reply: reply["scores"][::-1]), "scores rise"),
        (BODIES[0], altered(video_ids=lambda reply: [reply["video_ids"][0]] * 5), "stands there twice"),
        (BODIES[0], altered(video_ids=lambda reply: reply["video_ids"][1:]), "4 videos; 5 were asked for"),
    ],
)
def test_wrong_answers_are_found(
    world: World, version: Version, body: dict[str, Any], alter: Callable[[Reply], None], words: str
) -> None:
    person = Person(-1, 1)
    version.remove([VIDEOS[0]])
    world.removed(VIDEOS[0])
    person.met("1", VIDEOS[1], 5, positive=True)
    reply = asked(version, person, body)
    assert verdict(world, person, body, reply).faults == []
    alter(reply)
    if len(reply["scores"]) > len(reply["video_ids"]):
        reply["scores"] = reply["scores"][: len(reply["video_ids"])]
    faults = verdict(world, person, body, reply).faults
    assert any(words in fault for fault in faults), faults


def test_what_is_missed_costs_recall(world: World, version: Version) -> None:
    person = Person(-1, 1)
    reply = asked(version, person, {"k": 6})
    reply |= {"video_ids": reply["video_ids"][1:], "scores": reply["scores"][1:]}
    found = verdict(world, person, {"k": 5}, reply)
    assert (found.faults, found.recall) == ([], 0.8)


def test_what_is_under_way_may_be_there_or_not(world: World, version: Version) -> None:
    person, body = Person(-1, 1), {"k": 5}
    before = asked(version, person, body)
    best: int = before["video_ids"][0]
    version.remove([best])
    after = asked(version, person, body)
    world.begin(best)
    for reply in (before, after):
        found = verdict(world, person, body, reply, {best})
        assert (found.faults, found.recall) == ([], 1.0)
    world.removed(best)
    assert "was removed" in verdict(world, person, body, before).faults[0]
    assert verdict(world, person, body, after).recall == 1.0


def test_a_bundle_is_published_once_more(tiny_bundle: Path, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, root)
    names = [republish(root) for _ in range(4)]
    assert current_name(root) == names[-1]
    assert version_names(root) == names[-3:]
    assert Bundle.open(root).version == names[-1]
    assert Bundle.open(root).manifest["files"] == Bundle.open(tiny_bundle).manifest["files"]


@pytest.mark.timeout(300)
def test_a_short_soak_finds_nothing(tiny_bundle: Path, tmp_path: Path) -> None:
    options = ["--minutes", "0.1", "--store", "sqlite", "--kills", "1", "--capacity-s", "1", "--publish-s", "3"]
    command = [sys.executable, "-m", "benchmarks.soak", "--bundle", str(tiny_bundle), "--work", str(tmp_path / "work")]
    done = subprocess.run([*command, *options, "--trial"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line.split() for line in done.stdout.splitlines() if line.startswith(" ") and len(line.split()) == 2)
    assert (told["wrong"], told["lost"], told["kills"], told["recall"]) == ("0", "0", "1", "1.00000")
    assert int(told["judged"]) > 5
    assert int(told["events"]) > 5
