"""Measures what each part of a recipe is worth: the recipe, and the recipe with one thing changed, one seed each.

    python -m benchmarks.ablation kuairand --data ../shared/data
    python -m benchmarks.ablation kuairand --only "dim 128" "random start"

Everything has vectors of 64 and no refit unless the change says otherwise, and films and places few epochs: a table
in an hour, instead of an afternoon. What asks for times or features is left out where a log has none.
Rows go to benchmarks/results/ablations.csv, one for each change and metric, with its interval over test users.
A change that was recorded at this commit is left out, so a second call goes on where the first was stopped.
"""

import argparse
import json
from pathlib import Path

from benchmarks.quality import TABLES, TOWERS, quality_rows, spend, work_folder
from benchmarks.record import Circumstances, read, record, surroundings

METRICS = ("recall@20", "recall@100", "ndcg@10", "hit@10")
BASE = ["model.dim=64", "refit_epochs=0", "refit_afresh=false"]
"""What every training has in common beside its recipe."""
RECIPES = {
    "kuairand": ["experiment=kuairand"],
    "gowalla-m1": ["experiment=gowalla-m1", "optim.epochs=3"],
    "ml-1m": ["experiment=ml-1m-fast", "optim.epochs=3"],
}
"""What every training of a table has in common."""
CHANGES: dict[str, list[str]] = {
    "as it is": [],
    "encoder mean": ["model/history=mean"],
    "encoder recency": ["model/history=recency"],
    "encoder attention": ["model/history=attention"],
    "encoder gru": ["model/history=gru"],
    "encoder transformer": ["model/history=transformer"],
    "encoder gated": ["model/history=gated"],
    "encoder hstu": ["model/history=hstu"],
    "loss bpr": ["loss=bpr", "sampler=uniform"],
    "loss gbce": ["loss=gbce", "sampler=uniform"],
    "loss contrastive": ["loss=contrastive", "sampler=uniform", "model.popularity=none"],
    "sampler inbatch": ["sampler=inbatch"],
    "sampler uniform": ["sampler=uniform"],
    "sampler catalogue": ["sampler=catalogue"],
    "sampler popularity": ["sampler=popularity"],
    "sampler queued": ["sampler=queued"],
    "sampler hard": ["sampler=hard"],
    "label smoothing .1": ["loss.label_smoothing=0.1"],
    "passed over weighs 10": ["passed_weight=10", "passed_each=4"],
    "geometry dot": ["model.geometry=dot"],
    "temperature .05, fixed": ["model.temperature=0.05", "model.learn_temperature=false"],
    "temperature .1, fixed": ["model.temperature=0.1", "model.learn_temperature=false"],
    "temperature learned from .07": ["model.temperature=0.07", "model.learn_temperature=true"],
    "no id dropout": ["model.id_dropout=0"],
    "id dropout .1": ["model.id_dropout=0.1"],
    "no dropout": ["model.dropout=0"],
    "dim 32": ["model.dim=32"],
    "dim 128": ["model.dim=128"],
    "random start": ["model.spectral=false"],
    "no features": ["model.features=false"],
    "no popularity": ["model.popularity=none"],
    "popularity as trained": ["model.popularity_strength=1"],
    "no ageing": ["half_life_days=0"],
    "no order": ["shuffle=true"],
    "4 interests": ["model.interests=4"],
    "no history dropout": ["model.history_dropout=0"],
    "window 20": ["model.window=20"],
    "window 100": ["model.window=100"],
    "float32": ["precision=float32"],
    "mean of weights": ["optim.average=0.999"],
    "refit": ["refit_epochs=2"],
    "refit afresh": ["refit_epochs=2", "refit_afresh=true"],
}


TIMELESS = {"no features", "no popularity", "no ageing", "no id dropout", "no history dropout", "passed over weighs 10"}
"""Off already in the recipes of logs that have no times, no features and nothing passed over."""
UNCOUNTED = {"sampler inbatch", "sampler catalogue"}
"""None for a recipe that says how many candidates are drawn: these draw no number of them."""
LEFT_OUT = {
    "kuairand": {"encoder recency", "id dropout .1", "temperature .1, fixed"},
    "gowalla-m1": {"encoder recency", "window 100"} | TIMELESS - {"no popularity"} | UNCOUNTED,
    "ml-1m": TIMELESS
    | UNCOUNTED
    | {"encoder recency", "sampler uniform", "popularity as trained", "temperature learned from .07"},
}
"""Changes that are none for a table."""


def changes_of(table: str) -> list[str]:
    """Return the changes that make a difference to a table."""
    return [name for name in CHANGES if name not in LEFT_OUT[table]]


def merged(change: list[str]) -> list[str]:
    """Return the options of a change, and those of all trainings that it does not change.

    Example:
        >>> merged(["model.dim=32"])
        ['refit_epochs=0', 'refit_afresh=false', 'model.dim=32']
    """
    changed = {option.split("=")[0] for option in change}
    return [option for option in BASE if option.split("=")[0] not in changed] + change


def measure(table: str, change: str, data: Path, work: Path) -> None:
    """Train with one change, judge on test, and record."""
    name = change.replace(" ", "-").replace(",", "")
    dataset, run, report = work / "dataset", work / f"run-{name}", work / f"report-{name}"
    if run.exists():
        raise SystemExit(f"{run} is there, so not all would be measured; remove it, or choose another --work")
    if not dataset.exists():
        work.mkdir(parents=True, exist_ok=True)
        spend([TOWERS, "prepare", *TABLES[table].options(data, work), f"dataset={dataset}"])
    options = [*RECIPES[table], f"dataset={dataset}", f"run={run}", "seed=0", *merged(CHANGES[change])]
    cost = spend([TOWERS, "train", *options])
    spend([TOWERS, "evaluate", f"run={run}", f"report={report}", "floors=[popular]"])
    figures = json.loads((report / "report.json").read_text(encoding="utf-8"))["metrics"]
    rows = quality_rows(table, change, {metric: figures[metric] for metric in METRICS})
    command = f"python -m benchmarks.ablation {table} --only '{change}'"
    record("ablations", rows, Circumstances(command=command, seed=0, seconds=cost.seconds, peak_mb=cost.peak_mb))


def main() -> None:
    """Measure what has not been measured at this commit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES), help="protocol")
    parser.add_argument("--only", nargs="+", choices=list(CHANGES), help="which changes")
    parser.add_argument("--data", default="../shared/data", help="folder of the raw data")
    parser.add_argument("--work", default="runs/ablation", help="folder for datasets and runs")
    arguments = parser.parse_args()
    commit = surroundings()["commit"]
    done = {row["recipe"] for row in read("ablations") if (row["protocol"], row["commit"]) == (arguments.table, commit)}
    for change in arguments.only or changes_of(arguments.table):
        if change not in done:
            measure(arguments.table, change, Path(arguments.data), work_folder(Path(arguments.work), arguments.table))


if __name__ == "__main__":
    main()
