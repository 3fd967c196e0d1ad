"""Measures how well the engagement head tells which videos get liked, beside gradient-boosted trees on the same rows.

    python -m benchmarks.engagement                      # prepares, trains kuairand's recipe and fits the head
    python -m benchmarks.engagement --run runs/kuairand  # of a finished run

Rows go to benchmarks/results/engagement.csv: of the head, of the rates alone, and of scikit-learn's
HistGradientBoostingClassifier. The tree learns from the head's exposures, train and valid, and reads all that the head
reads, or all but the towers: their vectors are missing in train, where neither may look at them, for the towers have
learned the answers there. How many iterations it takes, and its threshold, are chosen on a third of valid's users;
then it learns from all rows again. Fitted on the CPU; needs scikit-learn (`pip install -e '.[dev]'`).
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality import TOWERS, quality_rows, spend, work_folder
from benchmarks.record import Circumstances, record
from towers.data import Dataset, Split
from towers.metrics import BINARY, Judgement, best_threshold
from towers.models import Run, load_towers, open_run
from towers.models.engagement_model import EngagementModel, open_engagement
from towers.models.occasions import Occasions
from towers.training.engagement import BEFORE
from towers.types import peak_mb

CONTEXT = "engagement.context=[tab]"
MOST_ITERATIONS, PATIENCE = 400, 15
MOST_CATEGORIES = 255
"""More codes than these are no categories to scikit-learn."""


def table(model: EngagementModel, run: Run, occasions: Occasions, *, vectors: bool) -> tuple[np.ndarray, list[bool]]:
    """Return what the head reads of every exposure, [n, w], and which columns are categories."""
    every = np.arange(len(occasions.exposures))
    known = occasions.known(model.values, every)
    parts = [known.codes.numpy().astype(np.float32), known.numbers.numpy()]
    categories = [size <= MOST_CATEGORIES for size in model.head.sizes] + [False] * len(model.names)
    if vectors:
        towers = np.full((len(every), 1 + 2 * model.head.dim), np.nan, np.float32)
        before = load_towers(run.folder / BEFORE) if run.info["refitted"] else run.towers
        for split, asked in ((Split.valid, before), (Split.test, run.towers)):
            places = occasions.exposures.of_split(split)
            queries, videos = occasions.vectors(asked, places)
            towers[places] = np.c_[(queries * videos).sum(1), queries, videos]
        parts.append(towers)
        categories += [False] * towers.shape[1]
    return np.concatenate(parts, axis=1), categories


def tree(rows: np.ndarray, categories: list[bool], occasions: Occasions, seed: int) -> dict[str, float]:
    """Return what the tree is worth on test."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    exposures = occasions.exposures
    test, valid = exposures.of_split(Split.test), exposures.of_split(Split.valid)
    learned = np.flatnonzero(exposures.split < int(Split.test))
    held = valid[exposures.user_row[valid] % 3 == 0]
    begun = np.setdiff1d(learned, held)
    options: dict[str, Any] = {
        "learning_rate": 0.07, "min_samples_leaf": 50, "l2_regularization": 1.0, "max_features": 0.3,
        "categorical_features": categories, "random_state": seed,
    }  # fmt: skip
    first = HistGradientBoostingClassifier(
        **options, max_iter=MOST_ITERATIONS, early_stopping=True, n_iter_no_change=PATIENCE
    )
    first.fit(rows[begun], exposures.liked[begun], X_val=rows[held], y_val=exposures.liked[held])
    threshold = best_threshold(first.predict_proba(rows[held])[:, 1], exposures.liked[held])
    iterations = max(1, first.n_iter_ - PATIENCE)
    last = HistGradientBoostingClassifier(**options, max_iter=iterations, early_stopping=False)
    last.fit(rows[learned], exposures.liked[learned])
    chance = last.predict_proba(rows[test])[:, 1]
    return Judgement.of(chance, exposures.liked[test], threshold).figures()


def finished_run(arguments: argparse.Namespace) -> Path:
    """Return a run with an engagement head, trained here unless one was named."""
    if arguments.run:
        folder = Path(arguments.run)
        if open_engagement(folder) is None:
            raise SystemExit(f"{folder} has no engagement head; train it again with engagement.fit=true {CONTEXT}")
        return folder
    work = work_folder(Path(arguments.work), "kuairand")
    dataset, folder = work / "dataset", work / "run-engagement"
    if not dataset.exists():
        work.mkdir(parents=True, exist_ok=True)
        spend([TOWERS, "prepare", "data=kuairand", f"dataset={dataset}"])
    options = ["experiment=kuairand", "engagement.fit=true", CONTEXT, f"seed={arguments.seed}"]
    spend([TOWERS, "train", *options, f"dataset={dataset}", f"run={folder}"])
    return folder


def keep(model: str, figures: Mapping[str, Any], how: Circumstances, exposures: int) -> None:
    """Record one model's row, and print it."""
    rows = {
        row["metric"]: row for row in quality_rows("kuairand", model, {f"{name}@": figures[name] for name in BINARY})
    }
    values = {name: rows[f"{name}@"]["value"] for name in BINARY}
    ends = {f"{end} {name}": rows[f"{name}@"][end] for name in ("auc", "f1") for end in ("low", "high")}
    record("engagement", [{"protocol": "kuairand", "model": model, "exposures": exposures, **values, **ends}], how)
    print(f"{model:44s}" + "".join(f"  {name} {float(str(value)):.4f}" for name, value in values.items()), flush=True)


def main(words: list[str]) -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="a finished run with an engagement head; trained here unless named")
    parser.add_argument("--seed", type=int, default=0, help="of a run that is trained here")
    parser.add_argument("--work", default="runs/engagement", help="folder for dataset and run")
    parser.add_argument("--trees", nargs="*", choices=("plain", "towers"), default=["plain", "towers"])
    arguments = parser.parse_args(words)
    folder = finished_run(arguments)
    seed = int(open_run(folder).info["seed"])
    report = folder / "report-engagement"
    cost = spend([TOWERS, "evaluate", f"run={folder}", f"report={report}", "floors=[popular]"])
    told = json.loads((report / "report.json").read_text(encoding="utf-8"))["engagement"]
    command = "python -m benchmarks.engagement" + (" --run DIR" if arguments.run else f" --seed {seed}")
    how = Circumstances(command=command, seed=seed, seconds=cost.seconds, peak_mb=cost.peak_mb)
    for name, figures in told["figures"].items():
        keep(name, figures, how, told["exposures"])
    run, model = open_run(folder), open_engagement(folder)
    if model is None:
        raise SystemExit(f"{folder} has no engagement head any more; nothing more to measure")
    occasions = Occasions.of(Dataset.open(run.dataset), list(model.values))
    for kind in arguments.trees:
        began = time.perf_counter()
        found = tree(*table(model, run, occasions, vectors=kind == "towers"), occasions, seed)
        name = "HistGradientBoosting, " + ("all that the head reads" if kind == "towers" else "all but the towers")
        seconds = time.perf_counter() - began
        how = Circumstances(command=command, seed=seed, seconds=seconds, peak_mb=peak_mb())
        keep(name, found, how, told["exposures"])


if __name__ == "__main__":
    main(sys.argv[1:])
