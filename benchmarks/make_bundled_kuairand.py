"""Make the four Parquet files of `data=kuairand` from the published ones; the format changes, nothing else.

python benchmarks/make_bundled_kuairand.py KUAIRAND_PURE_FOLDER
"""

import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

BUNDLED = Path(__file__).resolve().parent.parent / "towers" / "data" / "bundled"
FILES = {
    "history.parquet": "long_view_history_4_09_to_4_24_pure.parquet",
    "log.parquet": "log_standard_4_25_to_5_08_pure.parquet",
    "users.parquet": "user_features_pure.csv",
    "videos.parquet": "video_features_basic_pure.csv",
}
NEARLY_SORTED = ("user_id", "time_ms")
"""Columns that differences store in less than a dictionary does."""


def read(path: Path) -> pa.Table:
    """Return a published table, its rows and columns in the published order."""
    if path.suffix == ".parquet":
        return pq.read_table(path).replace_schema_metadata(None)
    options = pc.ConvertOptions(strings_can_be_null=True, null_values=[""])
    return pc.read_csv(path, read_options=pc.ReadOptions(block_size=64 << 20), convert_options=options)


def main(folder: Path) -> None:
    """Write each table as Parquet, zstd, as small as it gets without reordering anything."""
    BUNDLED.mkdir(parents=True, exist_ok=True)
    for name, source in FILES.items():
        table = read(folder / source)
        differences = {column: "DELTA_BINARY_PACKED" for column in NEARLY_SORTED if column in table.column_names}
        pq.write_table(
            table,
            BUNDLED / name,
            compression="zstd",
            compression_level=19,
            row_group_size=1_000_000,
            use_dictionary=[column for column in table.column_names if column not in differences],
            column_encoding=differences,
        )
        print(f"{name}: {table.num_rows} rows, {table.num_columns} columns, {(BUNDLED / name).stat().st_size} bytes")
    shutil.copyfile(folder / "LICENSE", BUNDLED / "LICENSE")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
