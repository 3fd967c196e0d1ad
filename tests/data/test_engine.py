import errno
from pathlib import Path

import duckdb
import pytest

from towers.data.engine import Engine, text_of, translated
from towers.types import DataError


def test_errors_say_what_we_were_doing() -> None:
    with pytest.raises(DataError, match=r"reading x: .*nosuch"), translated("reading x"):
        duckdb.sql("SELECT nosuch")
    with pytest.raises(DataError, match=r"writing x: the disk is full .*free some space"), translated("writing x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(DataError, match=r"sorting: out of memory .*memory=4GB"), translated("sorting"):
        raise duckdb.OutOfMemoryException("could not allocate 3 GB")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(PermissionError), translated("writing"):
        raise PermissionError(errno.EACCES, "no")


def test_a_small_memory_spills_into_the_folder_given(tmp_path: Path) -> None:
    with Engine.opened(tmp_path, "60MB", 1) as engine:
        engine.run("load", name="numbers", reader="(SELECT hash(range) AS h FROM range(3000000))")
        engine.run("load", name="ordered", reader="(SELECT h FROM numbers ORDER BY h)")
        assert engine.select("count_distinct", name="ordered", column="h IS NULL") == [(1,)]
        assert (tmp_path / "work.duckdb").exists()


def test_words_are_filled_in() -> None:
    assert "TABLE events_x AS" in text_of("load", name="events_x", reader="range(1)")
