from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.conftest import T0, Made
from towers.types import DataError


def test_no_file(tmp_path: Path, made: Made) -> None:
    with pytest.raises(
        DataError, match=r"data\.events=.*nothing\.parquet: no file found; expected a file, a folder or a glob"
    ):
        made(str(tmp_path / "nothing.parquet"))


def test_an_unknown_format_is_named(tmp_path: Path, made: Made) -> None:
    (tmp_path / "log.xlsx").write_text("not a table")
    with pytest.raises(DataError, match=r"log\.xlsx is of no known format; expected \.parquet"):
        made(str(tmp_path / "log.xlsx"))


def test_mixed_formats(tmp_path: Path, made: Made) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").touch()
    (tmp_path / "parts" / "b.jsonl").touch()
    with pytest.raises(DataError, match="the files are of several formats, csv and json; give files of one"):
        made(str(tmp_path / "parts"))


@pytest.mark.parametrize("damage", ["cut short", "a changed page"])
def test_a_damaged_parquet_file_is_named(tmp_path: Path, made: Made, damage: str) -> None:
    (tmp_path / "parts").mkdir()
    table = pa.table({"user_id": list(range(2000)), "video_id": [1] * 2000, "time_ms": [T0 + n for n in range(2000)]})
    for name in ("a", "b", "c"):
        pq.write_table(table, tmp_path / "parts" / f"{name}.parquet", compression="zstd")
    path = tmp_path / "parts" / "b.parquet"
    content = path.read_bytes()
    path.write_bytes(
        content[: len(content) // 2] if damage == "cut short" else content[:40] + b"\xff" * 400 + content[440:]
    )
    with pytest.raises(DataError, match=r"data\.events=.*parts: cannot read .*b\.parquet"):
        made(str(tmp_path / "parts"))
