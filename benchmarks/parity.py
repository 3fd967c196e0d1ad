"""Compares what the service answers with the lists of the offline evaluation, for the same users in the same state.

    towers publish run=runs/demo/run bundle=runs/parity/exact histories=past
    python -m benchmarks.parity --bundle runs/parity/exact --dataset runs/demo/dataset
    python -m benchmarks.parity --bundle runs/demo/bundle --dataset runs/demo/dataset

A real `towers serve` is asked over HTTP for 100 videos for each of 1,000 users who have something to find in test;
`towers evaluate` ranks the same users' catalogue exactly, with torch. A bundle published with histories=past knows
what the evaluation knows of them, and once it is asked, each user's positives of test are told as events and it is
asked again: then the evaluation is given histories that hold them. A bundle of histories=all knows them from the start.
Lists are equal up to ties where no video's score is further than 1e-6 from what the other list says of it, or, where
that does not hold it, from the other's last. A row for each state goes to benchmarks/results/parity.csv.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from benchmarks.load import process
from benchmarks.record import Circumstances, record
from benchmarks.serving import wait_for
from towers.data import TIME_UNKNOWN, Dataset, Positives, Split
from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.exact import DEPTH, rank
from towers.features import encode_table
from towers.models import TwoTower
from towers.publishing import Bundle
from towers.serving import Client
from towers.types import Hits, peak_mb

PORT = 8713
TIED = 1e-6
Row = dict[str, object]


@dataclass(frozen=True)
class Listed:
    """One user's list.

    Attributes:
        ids: Of videos, best first.
        scores: Theirs.
    """

    ids: Sequence[int | str]
    scores: Sequence[float]

    def apart(self, other: "Listed") -> float:
        """Return the largest difference of the scores that both lists give a video; 0 where they share none."""
        theirs = dict(zip(other.ids, other.scores, strict=True))
        return max(
            (abs(score - theirs[i]) for i, score in zip(self.ids, self.scores, strict=True) if i in theirs), default=0.0
        )

    def tied(self, other: "Listed") -> bool:
        """Return whether the lists differ in nothing but the order of videos that score the same."""
        return len(self.ids) == len(other.ids) and all(_near(*pair) for pair in ((self, other), (other, self)))

    def found(self, other: "Listed") -> float:
        """Return which share of the other list stands in this one."""
        return len(set(self.ids) & set(other.ids)) / len(other.ids) if other.ids else 1.0


def _near(some: Listed, other: Listed) -> bool:
    theirs = dict(zip(other.ids, other.scores, strict=True))
    last = other.scores[-1] if other.ids else 0.0
    return all(abs(score - theirs.get(i, last)) <= TIED for i, score in zip(some.ids, some.scores, strict=True))


def having(dataset: Dataset, users: Int64[np.ndarray, " q"], positives: Positives) -> EvaluationSet:
    """Return users who have watched these positives and have nothing to find, so that ties go by the lower row."""
    nothing = np.zeros(0, np.int64)
    return EvaluationSet(
        Split.test,
        users,
        np.concatenate([[0], np.cumsum(positives.counts()[users])]),
        np.concatenate([positives.of(user) for user in users]),
        np.concatenate([positives.times_of(user) for user in users]),
        np.zeros(len(users) + 1, np.int64),
        nothing,
        nothing,
        len(dataset.videos),
    )


def offline(towers: TwoTower, users: EvaluationSet, dataset: Dataset) -> list[Listed]:
    """Return the evaluation's lists."""
    encoders = dataset.encoders
    tables = encode_table(encoders.users, dataset.user_table()), encode_table(encoders.videos, dataset.video_table())
    return list(_listed(rank(towers, users, *tables), dataset))


def _listed(hits: Hits, dataset: Dataset) -> Iterator[Listed]:
    for rows, scores in zip(hits.ids, hits.scores, strict=True):
        ids = dataset.videos.ids(rows[rows >= 0])
        yield Listed(ids if isinstance(ids, list) else ids.tolist(), scores[rows >= 0].tolist())


def served(client: Client, user_ids: Sequence[int | str]) -> list[Listed]:
    """Return the service's lists."""
    answers = (client.candidates(user, k=DEPTH) for user in user_ids)
    return [Listed(answer["video_ids"], answer["scores"]) for answer in answers]


def events_of(dataset: Dataset, users: Int64[np.ndarray, " q"], split: Split) -> list[Mapping[str, object]]:
    """Return the positives of users in a split as the service is told of them.

    Raises:
        SystemExit: One has no time, so that its place in a history cannot be told.
    """
    positives, told = dataset.positives(split), list[Mapping[str, object]]()
    for user, name in zip(users, user_ids(dataset, users), strict=True):
        times = positives.times_of(user).tolist()
        if TIME_UNKNOWN in times:
            raise SystemExit(f"an event of user {name} has no time; take a dataset of which all have one")
        videos = dataset.videos.ids(positives.of(user).astype(np.int64))
        listed = videos if isinstance(videos, list) else videos.tolist()
        told += [
            {"user_id": name, "video_id": video, "time_ms": ms, "event_id": f"{name} {place}"}
            for place, (video, ms) in enumerate(zip(listed, times, strict=True))
        ]
    return told


def user_ids(dataset: Dataset, users: Int64[np.ndarray, " q"]) -> list[Any]:
    """Return what the app calls users."""
    ids = dataset.users.ids(users)
    return ids if isinstance(ids, list) else ids.tolist()


def compared(wanted: Sequence[Listed], found: Sequence[Listed]) -> Row:
    """Return how far the service's lists are from the evaluation's."""
    pairs = list(zip(wanted, found, strict=True))
    share: dict[str, list[float]] = {
        "equal": [w.ids == f.ids for w, f in pairs],
        "equal_up_to_ties": [w.tied(f) for w, f in pairs],
        "recall@100": [f.found(w) for w, f in pairs],
    }
    apart = max(w.apart(f) for w, f in pairs)
    shown: Row = {name: f"{np.mean(each):.4f}" for name, each in share.items()}
    return shown | {"score_apart": f"{apart:.1e}"}


def measured(client: Client, bundle: Bundle, dataset: Dataset, users: EvaluationSet) -> list[Row]:
    """Return a row for each state in which the service was asked."""
    names, index = user_ids(dataset, users.users), bundle.manifest["index"]
    row: Row = {"index": index["kind"], "exact": "yes" if index["exact"] else "no", "users": len(users)}
    everything = having(dataset, users.users, dataset.positives(*Split))
    if bundle.manifest["histories"] == "all":
        said = compared(offline(bundle.towers, everything, dataset), served(client, names))
        return [row | {"state": "bundle of all histories", "events": 0} | said]
    before = compared(offline(bundle.towers, users, dataset), served(client, names))
    told = events_of(dataset, users.users, Split.test)
    new = sum(client.events(told[begin : begin + 5000])["new"] for begin in range(0, len(told), 5000))
    after = compared(offline(bundle.towers, everything, dataset), served(client, names))
    return [
        row | {"state": "bundle of histories before test", "events": 0} | before,
        row | {"state": "with test's events told", "events": new} | after,
    ]


def main() -> None:
    """Compare one bundle with its dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="folder that towers publish wrote")
    parser.add_argument("--dataset", type=Path, required=True, help="the dataset that its towers were trained on")
    parser.add_argument("--users", type=int, default=1000, help="how many are asked for, drawn at random")
    parser.add_argument("--state", type=Path, default=Path("runs/parity/state"), help="folder for the service's state")
    arguments = parser.parse_args()
    bundle, dataset = Bundle.open(arguments.bundle), Dataset.open(arguments.dataset)
    state = arguments.state.absolute()
    shutil.rmtree(state, ignore_errors=True)
    everybody = EvaluationSet.of(dataset, Split.test)
    drawn = np.random.default_rng(0).permutation(len(everybody))[: arguments.users]
    options = [f"bundle={arguments.bundle.absolute()}", f"state={state}", f"store.path={state / 'state.db'}"]
    options += [f"port={PORT}", "deadline_ms=5000", "remember=0"]
    serve = [sys.executable, "-c", "from towers.cli import main; raise SystemExit(main())", "serve", *options]
    began = time.perf_counter()
    with process(serve, 1) as server, Client(f"http://127.0.0.1:{PORT}", timeout_s=60.0, tries=0) as client:
        wait_for(client, server)
        rows = measured(client, bundle, dataset, everybody.pick(np.sort(drawn)))
    print(*rows, sep="\n")
    command = f"python -m benchmarks.parity {' '.join(sys.argv[1:])}"
    how = Circumstances(command=command, seed=0, seconds=time.perf_counter() - began, peak_mb=peak_mb())
    record("parity", [{"protocol": dataset.protocol} | row for row in rows], how)


if __name__ == "__main__":
    main()
