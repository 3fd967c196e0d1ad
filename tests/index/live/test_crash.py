"""A process that is killed while it writes, and a crash at every step of building anew, lose nothing acknowledged."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.index.live.worlds import BY_HAND, D, Truth, begun, check, whole
from towers.index import Live
from towers.index.live import folder as disk
from towers.index.live.moment import Moment
from towers.index.live.parts import Part
from towers.types import DataError

WRITER = """
import sys
from pathlib import Path
from tests.index.live.test_crash import change
from towers.index import Live, Upkeep

live = Live.open(Path(sys.argv[1]), upkeep=Upkeep(recent=0.0, at_least=30))
number = int(sys.argv[2])
while True:
    change(live, number)
    print(number, flush=True)
    number += 1
"""


def change(live: Live, number: int) -> None:
    """One of an endless row of changes, always the same."""
    if number % 3:
        live.put(whole(number, 2), np.array([number % 17, 100 + number % 23]))
    else:
        live.remove(np.array([number % 17]))


def follow(truth: Truth, number: int) -> Truth:
    """What a change makes of the truth."""
    if number % 3:
        return truth | dict(zip([number % 17, 100 + number % 23], whole(number, 2), strict=True))
    return {name: vector for name, vector in truth.items() if name != number % 17}


def is_state(live: Live, truth: Truth) -> bool:
    vectors, ids = live._current.now.contents()
    order = np.argsort(ids)
    return ids[order].tolist() == sorted(truth) and all(
        (truth[name] == vectors[row]).all() for name, row in zip(ids[order].tolist(), order, strict=True)
    )


@pytest.mark.timeout(600)
def test_a_killed_writer_loses_nothing_that_it_had_acknowledged(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    live.close()
    done = 0
    for calls in (7, 90):
        command = [sys.executable, "-c", WRITER, str(tmp_path / "live"), str(done)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as writer:
            assert writer.stdout is not None
            for number, line in zip(range(done, done + calls), writer.stdout, strict=False):
                assert int(line) == number
            writer.kill()
            rest = [int(line) for line in writer.stdout.read().split("\n")[:-1]]
        last = (rest or [done + calls - 1])[-1] + 1
        for number in range(done, last):
            truth = follow(truth, number)
        with Live.open(tmp_path / "live", upkeep=BY_HAND) as live:
            # The call that was at work may be there or not; nothing else may.
            after = follow(truth, last)
            done = last + (not is_state(live, truth))
            truth = truth if done == last else after
            check(live, truth)


def test_a_crash_at_any_step_of_building_anew_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, truth = begun(tmp_path / "live")
    for number in range(30):
        change(live, number)
        truth = follow(truth, number)
    copies: list[tuple[Path, Truth]] = []

    def copied(path: Path) -> None:
        nonlocal truth
        flush(path)
        # What arrives while a main part is built must be in every copy that follows.
        if live._current._since is not None:
            change(live, 30 + len(copies))
            truth = follow(truth, 30 + len(copies))
        copies.append((tmp_path / str(len(copies)), truth))
        shutil.copytree(live.folder, copies[-1][0])

    flush = disk.flush
    monkeypatch.setattr(disk, "flush", copied)
    live.compact(recluster=True)
    monkeypatch.undo()
    check(live, truth)
    live.close()
    assert len(copies) > 10
    generations = set()
    for folder, there in copies:
        check(Live.open(folder, write=False), there)
        with Live.open(folder, upkeep=BY_HAND) as again:
            check(again, there)
            generations.add(disk.read_header(folder)["generation"])
            again.compact()
            again.put(np.ones((1, D), np.float32), np.array([7000]))
        with Live.open(folder, upkeep=BY_HAND) as again:
            check(again, there | {7000: np.ones(D, np.float32)})
            assert len(list(folder.glob("main-*"))) == 1
    assert generations == {1, 2}


def test_where_building_fails_all_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, truth = begun(tmp_path / "live")
    change(live, 1)
    truth = follow(truth, 1)

    def full(path: Path) -> None:
        path.mkdir(exist_ok=True)
        (path / "half").write_bytes(b"0" * 100)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("towers.index.live.parts.Part.save", lambda _part, folder: full(folder))
    with pytest.raises(OSError, match="No space left"):
        live.compact()
    assert [path.name for path in live.folder.glob("main-*")] == ["main-000001"]
    change(live, 2)
    truth = follow(truth, 2)
    check(live, truth)
    check(Live.open(live.folder, write=False), truth)
    monkeypatch.undo()
    live.compact()
    change(live, 4)
    truth = follow(truth, 4)
    check(live, truth)
    live.close()
    check(Live.open(live.folder, write=False), truth)
    assert sorted(path.name for path in live.folder.iterdir()) == [
        "index.json",
        "journal-000003",
        "lock",
        "main-000003",
    ]


@pytest.mark.parametrize("module", ["current.Current._after", "moment.Moment.of"])
def test_where_memory_runs_out_on_the_way_to_the_new_part_all_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    live, truth = begun(tmp_path / "live")
    change(live, 1)
    truth = follow(truth, 1)
    installed = live._installed

    def last(before: Moment, fall: float | None) -> tuple[dict[str, object], Part]:
        """Install the new part, write something meanwhile, and have no memory left from there on."""
        nonlocal truth
        made = installed(before, fall)
        change(live, 2)
        truth = follow(truth, 2)

        def nothing_left(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(f"towers.index.live.{module}", nothing_left)
        return made

    monkeypatch.setattr(live, "_installed", last)
    with pytest.raises(MemoryError):
        live.compact()
    monkeypatch.undo()
    assert live._current._since is None
    assert sorted(path.name for path in live.folder.iterdir()) == [
        "index.json",
        "journal-000002",
        "lock",
        "main-000002",
    ]
    check(Live.open(live.folder, write=False), truth)
    change(live, 4)
    truth = follow(truth, 4)
    check(live, truth)
    live.compact()
    check(live, truth)
    live.close()
    check(Live.open(live.folder, write=False), truth)


def test_where_memory_runs_out_after_the_disk_has_it_nothing_more_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, truth = begun(tmp_path / "live")

    def nothing_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("towers.index.live.moment.Moment.after", nothing_left)
    with pytest.raises(MemoryError):
        live.put(whole(1, 1), np.array([100]))
    monkeypatch.undo()
    check(live, truth)
    with pytest.raises(
        DataError, match=r"could not be written before \(MemoryError\(\)\); mend that and open it again"
    ):
        live.remove(np.array([0]))
    live.close()
    with Live.open(live.folder) as again:
        check(again, truth | {100: whole(1, 1)[0]})


def test_damage_that_is_no_crash_is_refused(tmp_path: Path) -> None:
    live, _ = begun(tmp_path / "live")
    change(live, 1)
    change(live, 2)
    live.close()
    journal = disk.journal_file(live.folder, 1)
    whole_journal = journal.read_bytes()
    wrong = bytearray(whole_journal)
    wrong[30] ^= 4
    journal.write_bytes(wrong)
    with pytest.raises(ValueError, match="journal-000001 is damaged at byte 16"):
        Live.open(live.folder)
    journal.unlink()
    with pytest.raises(ValueError, match="journal-000001 is missing"):
        Live.open(live.folder)
    # A journal that was complete when the next one began can have no unfinished end.
    journal.write_bytes(whole_journal[:-1])
    other = disk.journal_file(live.folder, 2)
    other.write_bytes(whole_journal)
    with pytest.raises(ValueError, match=r"journal-000001 from byte .* is damaged: journal-000002.*holds more"):
        Live.open(live.folder)
    other.write_bytes(whole_journal[:16])
    with Live.open(live.folder, upkeep=BY_HAND) as again:
        assert (again.recovered.changes, again.recovered.lost) == (1, 71)
        assert again.recovered.where.endswith("journal-000001 from byte 88")
