"""A journal says what was written, whatever a crash left behind it; damage before that is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.index.live.worlds import D, whole
from towers.index.live.journal import Change, Content, Journal, net, read
from towers.types import DataError

CHANGES = [
    Change(np.array([3, 2**60]), whole(0, 2)),
    Change(np.array([3]), None),
    Change(np.array([5]), whole(1, 1)),
]


def written(path: Path, *, sync: bool) -> tuple[bytes, list[int]]:
    """The bytes of a journal, and where each of its records ends."""
    journal, ends = Journal.create(path, D, sync=sync), []
    for change in CHANGES:
        journal.append([change])
        ends.append(path.stat().st_size)
    journal.close()
    return path.read_bytes(), ends


def same(found: Content, expected: list[Change]) -> bool:
    def bare(change: Change) -> tuple[list[int], list[list[float]] | None]:
        return change.ids.tolist(), None if change.vectors is None else change.vectors.tolist()

    return [bare(change) for change in found.changes] == [bare(change) for change in expected]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    data, ends = written(tmp_path / "journal", sync=True)
    found = read(tmp_path, data, D)
    assert same(found, CHANGES)
    assert (found.end, found.lost) == (ends[-1], 0)


def test_cut_at_any_byte_it_says_what_was_whole(tmp_path: Path) -> None:
    data, ends = written(tmp_path / "journal", sync=True)
    title = ends[0] - (24 + 2 * 8 + 2 * 4 * D)
    for size in range(title, len(data)):
        found, kept = read(tmp_path, data[:size], D), sum(end <= size for end in ends)
        assert same(found, CHANGES[:kept])
        assert (found.end, found.lost) == ([title, *ends][kept], size - [title, *ends][kept])
    with pytest.raises(DataError, match="no journal of version 1 and 4 dimensions"):
        read(tmp_path, data[: title - 1], D)


def test_any_wrong_bit_of_the_last_record_drops_it(tmp_path: Path) -> None:
    data, ends = written(tmp_path / "journal", sync=True)
    for bit in range(8 * ends[1], 8 * ends[2]):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        found = read(tmp_path, bytes(wrong), D)
        assert same(found, CHANGES[:2])
        assert found.lost == ends[2] - ends[1]


def test_any_wrong_bit_of_what_others_followed_is_refused_by_file_and_byte(tmp_path: Path) -> None:
    data, ends = written(tmp_path / "journal", sync=True)
    for bit in range(8 * ends[0], 8 * ends[1]):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DataError, match=rf"journal is damaged at byte {ends[0]}: a record from byte {ends[1]} on"):
            read(tmp_path / "journal", bytes(wrong), D)


def test_without_sync_the_disk_may_have_kept_the_later_record_alone(tmp_path: Path) -> None:
    data, ends = written(tmp_path / "journal", sync=False)
    wrong = data[: ends[0]] + bytes(ends[1] - ends[0]) + data[ends[1] :]
    found = read(tmp_path, wrong, D)
    assert same(found, CHANGES[:1])
    assert found.lost == ends[2] - ends[0]


def test_calls_that_shared_a_wait_may_be_lost_together(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path / "journal", D, sync=True)
    journal.append(CHANGES[:1])
    end = (tmp_path / "journal").stat().st_size
    journal.append(CHANGES[1:])
    journal.close()
    data = bytearray((tmp_path / "journal").read_bytes())
    data[end + 30] ^= 1
    assert same(read(tmp_path, bytes(data), D), CHANGES[:1])


def test_a_journal_of_other_dimensions_is_refused(tmp_path: Path) -> None:
    data, _ = written(tmp_path / "journal", sync=True)
    with pytest.raises(DataError, match="no journal of version 1 and 5 dimensions"):
        read(tmp_path, data, D + 1)


def test_after_the_disk_refused_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.create(tmp_path / "journal", D, sync=True)
    monkeypatch.setattr("os.fsync", refusing)
    with pytest.raises(DataError, match=r"cannot be written.*No space left"):
        journal.append(CHANGES[:1])
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"could not be written before.*open it again"):
        journal.append(CHANGES[:1])
    journal.close()


def test_after_an_interrupt_nothing_more_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # How much of the record lies there nobody knows: what followed would lie where nobody looks.
    journal = Journal.create(tmp_path / "journal", D, sync=True)
    journal.append(CHANGES[:1])
    write = Journal._write

    def interrupted(self: Journal, data: bytes) -> None:
        write(self, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        journal.append(CHANGES[1:2])
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"could not be written before.*open it again"):
        journal.append(CHANGES[2:3])
    journal.close()


def refusing(_handle: int) -> None:
    raise OSError(28, "No space left on device")


some_changes = st.lists(
    st.tuples(st.lists(st.integers(0, 5), max_size=4, unique=True), st.booleans(), st.integers(0, 99)), max_size=8
)


@given(calls=some_changes)
def test_the_net_of_changes_is_what_they_do_one_after_the_other(calls: list[tuple[list[int], bool, int]]) -> None:
    changes = [Change(np.array(ids, np.int64), whole(seed, len(ids)) if put else None) for ids, put, seed in calls]
    truth: dict[int, list[float] | None] = {}
    for ids, vectors in changes:
        for row, name in enumerate(ids.tolist()):
            truth[name] = None if vectors is None else vectors[row].tolist()
    removal, put = net(changes, D)
    assert removal.vectors is None
    assert put.vectors is not None
    assert removal.ids.tolist() == sorted(name for name, vector in truth.items() if vector is None)
    found = dict(zip(put.ids.tolist(), put.vectors.tolist(), strict=True))
    assert found == {name: vector for name, vector in truth.items() if vector is not None}
