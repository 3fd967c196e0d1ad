"""What it costs to keep places for new videos: of a hundred that a user is shown, some for what nobody had watched yet.

    python -m benchmarks.kept_places RUN --dataset DIR

The best of all videos take the places that are not kept, the best of the new ones the rest, as a service answers with
two questions, one of them with a filter. New are videos without an event before the test. `recall@100` is of all that
users went on to watch, `new videos: recall@100` of new ones alone, by those users who watched any. Rows go to
benchmarks/results/kept_places.csv.
"""

import argparse
import time

import numpy as np

from benchmarks.record import Circumstances, record
from towers.data import Split
from towers.evaluation import EvaluationSet
from towers.evaluation.evaluate import open_dataset
from towers.evaluation.evaluation_set import FIRST_ROW
from towers.evaluation.exact import rank
from towers.features import FeatureTable, Requests, encode_table
from towers.index import Exact
from towers.models import Run, open_run, query_vectors, video_vectors
from towers.types import peak_mb

K, KEPT = 100, (0, 5, 10, 20, 50, 100)


def found_among(lists: np.ndarray, relevant: list[np.ndarray]) -> float:
    """Return the mean share of what each user watched that is in their list; nobody without any counts."""
    shares = [np.isin(wanted, own).mean() for own, wanted in zip(lists, relevant, strict=True) if len(wanted)]
    return float(np.mean(shares))


def best_new(run: Run, users: EvaluationSet, tables: tuple[FeatureTable, FeatureTable], rows: np.ndarray) -> np.ndarray:
    """Return the hundred best of the new videos' rows for each user, [q, 100]."""
    vectors = video_vectors(run.towers, tables[1])
    searcher = Exact().build(vectors[rows], rows, run.towers.geometry)
    past = (users.history_offsets, users.history, users.history_time_ms)
    requests = Requests.of(*past, np.arange(len(users)), run.towers.window)
    return searcher.search(query_vectors(run.towers, vectors, requests, tables[0].take(users.users)), K).ids


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run that has not seen the test")
    parser.add_argument("--dataset", help="its dataset; where it was trained unless given")
    asked = parser.parse_args()
    began = time.perf_counter()
    run = open_run(asked.run)
    dataset = open_dataset(run, asked.dataset)
    users = EvaluationSet.of(dataset, Split.test)
    encoders = dataset.encoders
    tables = encode_table(encoders.users, dataset.user_table()), encode_table(encoders.videos, dataset.video_table())
    watched = np.bincount(dataset.positives(Split.train, Split.valid).video_row, minlength=len(dataset.videos))
    new = np.flatnonzero(watched[FIRST_ROW:] == 0) + FIRST_ROW
    best, best_of_new = rank(run.towers, users, *tables).ids, best_new(run, users, tables, new)
    relevant = np.split(users.truth, users.truth_offsets[1:-1])
    warm = [seeks if has else seeks[:0] for seeks, has in zip(relevant, users.warm, strict=True)]
    of_new = [np.intersect1d(seeks, new) for seeks in warm]
    rows = []
    for kept in KEPT:
        lists = np.concatenate([best[:, : K - kept], best_of_new[:, :kept]], axis=1)
        row = {
            "protocol": dataset.protocol,
            "kept": kept,
            "recall@100": f"{found_among(lists, warm):.4f}",
            "new videos: recall@100": f"{found_among(lists, of_new):.4f}",
            "new videos": len(new),
            "users of new videos": sum(len(wanted) > 0 for wanted in of_new),
        }
        rows.append(row)
        print(", ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    spent = time.perf_counter() - began
    how = Circumstances(
        command="python -m benchmarks.kept_places RUN", seed=run.info["seed"], seconds=spent, peak_mb=peak_mb()
    )
    record("kept_places", rows, how)


if __name__ == "__main__":
    main()
