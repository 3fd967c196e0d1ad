"""What the live index says of itself, what it refuses, and what one process sees of another."""

import pkgutil
from pathlib import Path

import numpy as np
import pytest

from tests.index.live.worlds import EVERYWHERE, D, begun, check, whole
from towers.index import Exact, Hnsw, Live, Mask, Upkeep, load_index
from towers.types import ConfigError, DataError, Geometry


def test_what_uses_up_slots_is_moved_and_stays_small(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    for number in range(600):
        vectors = whole(number, 1)
        live.put(vectors, np.array([number % 7 * 2]))
        truth[number % 7 * 2] = vectors[0]
    check(live, truth)
    assert len(live._current.now.recent) == 7
    assert len(live._current.now.recent.before) == 256
    live.close()


def test_a_search_keeps_the_moment_at_which_it_began(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    live.put(whole(1, 3), np.array([0, 2, 100]))
    then, expected = live._current.now, live.search(whole(9, 2), 30, [np.array([2])] * 2)
    for number in range(100):
        live.put(whole(number, 4), np.array([0, 2, 4, 100]))
        live.remove(np.array([2, 6]))
    found = then.find(whole(9, 2), 30, [np.array([2])] * 2, None)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert 2 not in found.ids
    assert 2 in then.find(whole(9, 2), 30, None, np.array([2])).ids
    assert len(then) == len(truth) + 1
    live.close()


def test_masks_are_known_to_a_new_main_part_before_it_is_searched(tmp_path: Path) -> None:
    live, _ = begun(tmp_path / "live")
    kept, dropped = Mask(np.arange(0, 40, 4)), Mask(np.array([2]))
    for mask in (kept, ~dropped):
        live.search(whole(9, 1), 3, allow=mask)
    del dropped, mask
    live.put(whole(1, 1), np.array([100]))
    live.compact()
    assert live._current.now.main.masks() == [kept]
    assert set(live.search(whole(9, 1), 30, allow=kept).ids[0]) == {*range(0, 40, 4), -1}
    live.close()


def test_one_writes_and_any_number_read(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    with pytest.raises(DataError, match="is open for writing elsewhere; close it there, or open it here with write"):
        Live.open(live.folder)
    reader = Live.open(live.folder, write=False)
    live.put(whole(1, 1), np.array([100]))
    check(reader, truth)
    later = load_index(live.folder)
    assert isinstance(later, Live)
    check(later, truth | {100: whole(1, 1)[0]})
    live.compact()
    check(reader, truth)
    for act in (lambda: reader.put(whole(1, 1), np.array([1])), lambda: reader.remove(np.array([1])), reader.compact):
        with pytest.raises(DataError, match="is not open for writing here; open it with write=True"):
            act()
    live.close()
    with pytest.raises(DataError, match="not open for writing here"):
        live.put(whole(1, 1), np.array([1]))
    Live.open(live.folder).close()


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    with pytest.raises(DataError, match=r"vectors have shape \(\d+, 5\); give one a row, \[n, 4\], of one model"):
        live.put(np.ones((1, 5), np.float32), np.array([1]))
    with pytest.raises(DataError, match="row 0 of vectors is not finite"):
        live.put(np.full((1, D), np.nan, np.float32), np.array([1]))
    with pytest.raises(DataError, match="id 3 names 2 vectors or more"):
        live.put(whole(0, 2), np.array([3, 3]))
    with pytest.raises(DataError, match="the id of row 0 is -1"):
        live.put(whole(0, 1), np.array([-1]))
    with pytest.raises(DataError, match="there are 1 ids for 2 vectors"):
        live.put(whole(0, 2), np.array([3]))
    assert live.put(whole(0, 0), np.zeros(0, np.int64)) == 0
    check(live, truth)
    live.close()
    assert Live.open(live.folder, write=False).recovered.changes == 0
    units = Live.create(tmp_path / "units", np.eye(D, dtype=np.float32), np.arange(D), Geometry.cosine)
    with units, pytest.raises(DataError, match="has length 2; cosine geometry needs length 1"):
        units.put(np.full((1, D), 1, np.float32), np.array([9]))


def test_a_disk_that_refuses_a_write_changes_nothing_that_is_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, truth = begun(tmp_path / "live")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="mend the disk and open the index again"):
        live.put(whole(0, 1), np.array([1]))
    monkeypatch.undo()
    check(live, truth)
    with pytest.raises(DataError, match="could not be written before"):
        live.remove(np.array([0]))
    with pytest.raises(DataError, match="could not be written before"):
        live.compact()
    live.close()
    Live.open(live.folder).close()


def test_a_folder_in_use_and_kinds_that_cannot_live_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"is not empty; give a new folder, or open what is there with Live\.open"):
        Live.create(tmp_path, whole(0, 9), np.arange(9), Geometry.dot)
    with pytest.raises(
        ConfigError, match="an index of kind hnsw cannot live, and so not be served; take exact, ivf, or auto"
    ):
        Live.create(tmp_path / "graph", whole(0, 9), np.arange(9), Geometry.dot, Hnsw())
    with pytest.raises(DataError, match=r"index\.json is missing; make one with Live\.create"):
        Live.open(tmp_path)
    Exact().build(whole(0, 9), np.arange(9), Geometry.dot).save(tmp_path / "exact")
    with pytest.raises(DataError, match="is of kind 'exact', format 4; expected a live index of format 2 to 4"):
        Live.open(tmp_path / "exact")
    with pytest.raises(ConfigError, match="at_least 1 or more"):
        Upkeep(at_least=0)


def test_what_a_searcher_is_left_of_is_not_saved_as_if_whole(tmp_path: Path) -> None:
    searcher = EVERYWHERE.build(whole(0, 9), np.arange(9), Geometry.dot)
    left = searcher.without(np.array([3, 99]))  # type: ignore[attr-defined]
    assert left.ids.tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert searcher.ids.tolist() == list(range(9))
    with pytest.raises(DataError, match="8 vectors are left of what an index held; build one of these"):
        left.save(tmp_path / "left")


def test_from_nothing_to_many_and_back(tmp_path: Path) -> None:
    with Live.create(tmp_path / "live", whole(0, 0), np.zeros(0, np.int64), Geometry.dot) as live:
        assert live.health().recall == 1
        truth = dict(zip(range(300), whole(1, 300), strict=True))
        assert live.put(whole(1, 300), np.arange(300)) == 300
        check(live, truth)
        live.compact()
        check(live, truth)
        assert live.remove(np.arange(400)) == 300
        check(live, {})
        live.compact()
        check(live, {})
    assert len(Live.open(tmp_path / "live", write=False)) == 0


def test_what_is_built_meanwhile_gets_what_was_put_not_what_became_of_the_callers_array(tmp_path: Path) -> None:
    live, truth = begun(tmp_path / "live")
    before = live._current.begin()
    vectors = whole(1, 2)
    live.put(vectors, np.array([0, 100]))
    truth |= dict(zip([0, 100], whole(1, 2), strict=True))
    vectors += 1
    live._current.move_to(EVERYWHERE.build(*before.contents(), Geometry.dot))  # type: ignore[arg-type]
    check(live, truth)
    live.close()


@pytest.mark.parametrize("step", ["parts.Part.load", "opening.journals_from", "opening.read"])
def test_a_reader_that_opens_while_a_main_part_is_replaced_sees_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    live, truth = begun(tmp_path / "live")
    module, _, name = f"towers.index.live.{step}".rpartition(".")
    act = pkgutil.resolve_name(f"towers.index.live.{step}")
    done: list[bool] = []

    def later(*arguments: object) -> object:
        if not done:
            done.append(True)
            monkeypatch.undo()
            live.compact()
            live.put(whole(1, 1), np.array([100]))
        return act(*arguments)

    monkeypatch.setattr(pkgutil.resolve_name(module), name, later)
    check(Live.open(live.folder, write=False), truth | {100: whole(1, 1)[0]})
    assert done
    live.close()
