import io
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.own_searches import OWN
from benchmarks.peers.searches import PEERS, Library, Mode, chosen_efforts, least, lists, measured, rising, serve
from benchmarks.record import CHECKOUT
from benchmarks.vectors import LIKE, World, write_made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_made(folder, LIKE["kuairand"], 2000, 16, users=130)
    return folder


def finding(world: World) -> Library:
    """Return a library that finds as many of the best as its effort says."""
    effort = [0]

    def prepare(given: int, _threads: int) -> None:
        effort[0] = given

    def search(users: np.ndarray) -> np.ndarray:
        rows = [int((world.users == user).all(axis=1).argmax()) for user in users]
        found = world.best[rows].copy()
        found[:, effort[0] :] = -1
        return found

    return Library(prepare, search, partial(least, rising(1, 100)), str, aims=(0.5, 0.9))


def test_the_least_effort_that_reaches_a_recall_is_chosen(place: Path) -> None:
    world = World.open(place)
    efforts = chosen_efforts(finding(world), world.users, world.best)
    assert [int(effort) for effort in efforts] == [min(e for e in rising(1, 100) if e >= aim) for aim in (50, 90)]


@pytest.mark.parametrize("mode", [Mode(1, 1), Mode(1, 2), Mode(64, 1)])
def test_recall_stands_beside_the_time(place: Path, mode: Mode) -> None:
    world = World.open(place)
    library = finding(world)
    library.prepare(70, 1)
    row = measured(library, world.users, world.best, mode)
    assert row["recall@100"] == 0.7
    assert 0 < row["p50_us"] <= row["p99_us"]
    assert row["qps"] > 0


def test_effort_goes_first_to_what_is_scored_again_then_to_lists() -> None:
    library = lists(lambda *_: None, lambda users: users, 50, 1000)

    def recall(effort: tuple[int, int], _count: int = 0) -> float:
        look, again = effort
        return min(look / 50, again / 1000)

    look, again = library.choose(0.7, recall)
    assert again >= 900
    assert 35 <= look <= 38


def test_a_process_answers_ways_of_asking_with_rows(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"batch": 64, "threads": 1}\n'))
    serve(partial(OWN["exact"], place), place)
    built, row, end = capsys.readouterr().out.split("\n", 2)
    assert set(json.loads(built)) == {"build_s", "bytes_a_video"}
    assert json.loads(row)["recall@100"] == 1.0
    assert end == "\n"


@pytest.mark.parametrize("name", PEERS)
def test_every_library_has_its_pinned_requirements(name: str) -> None:
    package = {"faiss": "faiss-cpu", "svs": "scalable-vs"}.get(name, name)
    lines = (CHECKOUT / "benchmarks" / "peers" / "requirements" / f"{name}.txt").read_text().splitlines()
    assert any(line.startswith(f"{package}==") for line in lines)
    assert all("==" in line for line in lines)
