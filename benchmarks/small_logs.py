"""From what size of log on the towers are ahead: a sample of a log's users, trained on with nothing set.

    python -m benchmarks.small_logs kuairand --one-in 8 20 40
    python -m benchmarks.small_logs gowalla-m1 --one-in 10 --data ../shared/data

Every n-th user is kept with all of their events, the catalogue as it is where it has features. Rows go to
benchmarks/results/small_logs.csv: the towers, the best floor, and how far they are ahead, with the ends of its 95%
interval over test users. `each` is how many positives a video has that has any, `seconds` the wall time of
`towers train`.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.quality import DEFAULTS, TABLES, TOWERS, spend, value_of, work_folder
from benchmarks.record import Circumstances, record
from towers.data import Dataset, Split
from towers.data.vocabulary import FIRST_ROW
from towers.training.choose import Facts

KEPT = 3
"""Which of every n users is kept."""
METRIC = "recall@100"


def sampled(dataset: Dataset, one_in: int, folder: Path) -> list[str]:
    """Write every n-th user's events and features, and all videos'; return the options that prepare them.

    Users who are not kept are not listed either: a penalty of iALS goes by how many there are.
    """
    events = pq.read_table(dataset.folder / "events.parquet")
    kept = events.filter(pa.array(events["user_row"].to_numpy() % one_in == KEPT % one_in))
    splits = np.array([split.name for split in Split], dtype=object)[kept["split"].to_numpy()]
    columns = {"user_id": kept["user_row"], "video_id": kept["video_row"], "split": pa.array(splits)}
    columns |= {name: kept[name] for name in ("time_ms", "position", "positive", "weight")}
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / "events.parquet")
    options = ["data=files", f"data.events={folder / 'events.parquet'}", "data.positive=positive", "data.weight=weight"]
    users = np.unique(kept["user_row"].to_numpy())
    videos = np.arange(FIRST_ROW, len(dataset.videos))
    tables = (("user", users, dataset.user_table()), ("video", videos, dataset.video_table()))
    for thing, rows, table in tables:
        features = table.take(rows - FIRST_ROW).drop_columns([
            c for c in (f"{thing}_id", f"{thing}_row", "known") if c in table.column_names
        ])
        if features.num_columns:
            file = folder / f"{thing}s.parquet"
            pq.write_table(features.append_column(f"{thing}_id", pa.array(rows)), file)
            options.append(f"data.{thing}s={file}")
    return options


def measure(name: str, one_in: int, asked: argparse.Namespace) -> str:
    """Prepare, train and evaluate one sample, record its row; return what the report says.

    Raises:
        SystemExit: A command failed, or the run lies there finished.
    """
    work = work_folder(Path(asked.work), name)
    whole = work / "dataset"
    if not whole.exists():
        work.mkdir(parents=True, exist_ok=True)
        spend([TOWERS, "prepare", *TABLES[name].options(Path(asked.data), work), f"dataset={whole}"])
    sample = work / f"one-in-{one_in}"
    dataset, run, report = sample / "dataset", sample / f"run-{asked.seed}", sample / f"report-{asked.seed}"
    if (run / "run.json").exists():
        raise SystemExit(f"{run} is a finished run, so nothing would be measured; remove it, or choose another --work")
    if not dataset.exists():
        spend([TOWERS, "prepare", *sampled(Dataset.open(whole), one_in, sample), f"dataset={dataset}"])
    cost = spend([TOWERS, "train", f"dataset={dataset}", f"run={run}", f"seed={asked.seed}"])
    spend([TOWERS, "evaluate", f"run={run}", f"report={report}"])
    content: dict[str, Any] = json.loads((report / "report.json").read_text(encoding="utf-8"))
    floor = max(content["floors"], key=lambda floor: value_of(content["floors"][floor], METRIC))
    facts = Facts.of(Dataset.open(dataset))
    row: dict[str, object] = {
        "protocol": name,
        "recipe": DEFAULTS,
        "one_in": one_in,
        "positives": facts.events,
        "each": f"{facts.each:.1f}",
        METRIC: f"{value_of(content['metrics'], METRIC):.6f}",
        "best floor": floor,
        "floor": f"{value_of(content['floors'][floor], METRIC):.6f}",
        "ahead": f"{content['gain']['value']:.6f}",
        "low": f"{content['gain']['low']:.6f}",
        "high": f"{content['gain']['high']:.6f}",
    }
    command = f"python -m benchmarks.small_logs {name} --one-in {one_in}"
    how = Circumstances(command=command, seed=asked.seed, seconds=cost.seconds, peak_mb=cost.peak_mb)
    record("small_logs", [row], how)
    return str(content["verdict"])


def main(words: list[str]) -> None:
    """Measure samples of one log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--one-in", type=int, nargs="+", default=[8, 20, 40], help="of how many users one is kept")
    parser.add_argument("--data", default="../shared/data", help="folder of the raw data sets; kuairand needs none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", default="runs/quality", help="folder for datasets and runs")
    asked = parser.parse_args(words)
    for one_in in asked.one_in:
        print(f"{asked.table}, one in {one_in}: {measure(asked.table, one_in, asked)}")


if __name__ == "__main__":
    main(sys.argv[1:])
