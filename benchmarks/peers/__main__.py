"""Measures other packages beside ours: each in an environment of its own, all in one go, A B A B.

    python -m benchmarks.peers kuairand --referee ../shared/referee/referee.py
    python -m benchmarks.peers kuairand implicit-als towers-fast --rounds 1 --referee ../shared/referee/referee.py
    python -m benchmarks.peers kuairand implicit-als --on valid --set factors=64

Every contender learns from the same events: fit and valid. Ours may look at valid to choose the epoch; the others'
settings were chosen on valid before. Their lists are scored by the referee. A row of results/peers_measured.csv is
one turn of one contender. `seconds` is from the start of the process until it is trained, `fit_seconds` the
training with all that belongs to it, for ours the layout and valid too, `peak_mb` the largest memory until then;
`--on valid` records nothing and prints recall@100.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.contenders import CONTENDERS, Ours, Peer
from benchmarks.peers.tasks import read_answer, recall, task_of, write_lists
from benchmarks.quality import TABLES, TOWERS, spend, work_folder
from benchmarks.record import CHECKOUT, Circumstances, record, usable_threads
from towers.data import Dataset, Split

REQUIREMENTS = Path(__file__).parent / "requirements"
METRICS = ("recall@100", "recall@20", "ndcg@10", "hit@10")
FACTS = ("version", "fit_seconds", "rank_seconds", "examples_per_s")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


class StoppedError(Exception):
    """A contender that failed or took too long; says why."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one turn of a contender gave.

    Attributes:
        lists: Parquet file with its ranked lists.
        seconds: From the start of its process until it was trained.
        peak_mb: Its largest memory until then.
        facts: FACTS by name.
    """

    lists: Path
    seconds: float
    peak_mb: float
    facts: dict[str, Any]


def environment(name: str, folder: Path) -> Path:
    """Make a peer's environment unless it is there as its requirements say; return its Python.

    Raises:
        StoppedError: It cannot be installed.
    """
    wanted, place = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8"), folder.resolve() / name
    python, stamp = place / "venv" / "bin" / "python", place / "installed.txt"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    place.mkdir(parents=True, exist_ok=True)
    print(f"{name}: making the environment", flush=True)
    log = place / "log.txt"
    limited([sys.executable, "-m", "venv", "--clear", str(place / "venv")], 600, log)
    limited([str(python), "-m", "pip", "install", "-r", str(REQUIREMENTS / f"{name}.txt")], 1800, log)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def limited(command: list[str], limit: float, log: Path) -> None:
    """Run a command from the checkout's root, with what it says in a file.

    Raises:
        StoppedError: It failed, or ran for longer than `limit` seconds.
    """
    threads = dict.fromkeys(THREADS, str(usable_threads()))
    with log.open("w", encoding="utf-8") as said:
        try:
            subprocess.run(
                command, cwd=CHECKOUT, timeout=limit, check=True, env=os.environ | threads, stdout=said, stderr=said
            )
        except subprocess.TimeoutExpired as error:
            raise StoppedError(f"stopped after {limit:.0f} s") from error
        except subprocess.CalledProcessError as error:
            last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or ["nothing"])[-1]
            raise StoppedError(f"ended with {error.returncode}, saying: {last[:200]}") from error


def turn_of_peer(peer: Peer, words: list[str], task: Path, arguments: argparse.Namespace) -> Turn:
    """Let a peer train and rank; its lists are still to be written."""
    python = environment(peer.environment, Path(arguments.environments))
    answer = task.with_name("answer.npz")
    answer.unlink(missing_ok=True)
    command = [str(python), "-m", f"benchmarks.peers.{peer.script}", str(task), str(answer), *words]
    began = time.time()
    limited(command, arguments.limit, answer.with_name(f"log-{peer.script}.txt"))
    _, facts = read_answer(answer)
    seconds = facts["trained_at"] - began
    return Turn(lists=answer, seconds=seconds, peak_mb=facts["peak_mb"], facts={name: facts[name] for name in FACTS})


def turn_of_ours(words: list[str], dataset: Path, run: Path, limit: float) -> Turn:
    """Train and evaluate with this package."""
    began = time.time()
    options = [f"dataset={dataset}", f"run={run}", "seed=0", "progress=false"]
    log = dataset.with_name("log-towers.txt")
    limited([TOWERS, "train", *words, *options], limit, log)
    seconds, lists = time.time() - began, run / "lists.parquet"
    began = time.time()
    limited([TOWERS, "evaluate", f"run={run}", f"lists={lists}", "floors=[popular]"], limit, log)
    info = json.loads((run / "run.json").read_text(encoding="utf-8"))
    facts = {
        "version": info["versions"]["towers"],
        "fit_seconds": info["cost"]["seconds"],
        "rank_seconds": time.time() - began,
        "examples_per_s": info["positions_per_second"],
    }
    return Turn(lists=lists, seconds=seconds, peak_mb=info["cost"]["peak_mb"], facts=facts)


def row_of(name: str, protocol: str, number: int, facts: dict[str, Any], scores: dict[str, float]) -> dict[str, object]:
    """Return the row of a turn; what is not known stays empty."""
    contender = CONTENDERS[name]
    settings = " ".join(contender.words(protocol))
    row: dict[str, object] = {"protocol": protocol, "contender": name, "title": contender.title}
    row |= {"settings": settings, "round": number, "version": facts.get("version", "")}
    row |= {fact: f"{facts[fact]:.1f}" if fact in facts else "" for fact in FACTS[1:]}
    row |= {metric: f"{scores[metric]:.6f}" if metric in scores else "" for metric in METRICS}
    return row | {"note": facts.get("note", "")}


def judged(referee: str, protocol: str, lists: Path) -> dict[str, float]:
    """Return what the referee says of lists."""
    command = [sys.executable, referee, "score", protocol, str(lists)]
    scores: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return scores


def take_turn(name: str, number: int, work: Path, arguments: argparse.Namespace) -> None:
    """Let one contender have its turn, score it, and record the row."""
    contender, protocol = CONTENDERS[name], arguments.protocol
    dataset, task = work / "dataset", work / "task.npz"
    seconds, peak_mb, facts, scores = 0.0, 0.0, {}, {}
    try:
        words = contender.words(protocol)
        if isinstance(contender, Ours):
            run = work / f"run-{name}-{time.time_ns()}"
            turn = turn_of_ours(words, dataset, run, arguments.limit)
            lists = turn.lists
        else:
            turn, lists = turn_of_peer(contender, words, task, arguments), work / f"lists-{name}.parquet"
            data = Dataset.open(dataset)
            write_lists(read_answer(turn.lists)[0], task_of(data, Split.test), data, lists)
        seconds, peak_mb, facts = turn.seconds, turn.peak_mb, turn.facts
        scores = judged(arguments.referee, protocol, lists)
    except StoppedError as error:
        facts = {"note": str(error)}
    how = Circumstances(
        command=f"python -m benchmarks.peers {protocol} {name}", seed=0, seconds=seconds, peak_mb=peak_mb
    )
    row = row_of(name, protocol, number, facts, scores)
    record("peers_measured", [row], how)
    said = {"seconds": f"{seconds:.1f}", "peak_mb": f"{peak_mb:.0f}"} | row
    print(", ".join(f"{key} {said[key]}" for key in said if key not in {"protocol", "title"}), flush=True)


def choose(name: str, work: Path, arguments: argparse.Namespace) -> None:
    """Print what settings give on valid, trained on fit alone."""
    peer = CONTENDERS[name]
    if not isinstance(peer, Peer):
        raise SystemExit(f"{name} chooses on valid by itself; --on valid is for the others")
    data, task = Dataset.open(work / "dataset"), work / "task-valid.npz"
    task_of(data, Split.valid).save(task)
    words = [*peer.words(arguments.protocol), *arguments.set]
    turn = turn_of_peer(peer, words, task, arguments)
    found = recall(read_answer(turn.lists)[0], task_of(data, Split.valid), data, Split.valid)
    print(f"{name} {' '.join(arguments.set)}: valid recall@100 {found:.4f}, {turn.seconds:.1f} s, {turn.facts}")


def main(words: list[str]) -> None:
    """Measure who is asked for, turn by turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=["kuairand", "ml-1m"])
    parser.add_argument("contenders", nargs="*", metavar="NAME", help=f"of {', '.join(CONTENDERS)}; all unless named")
    parser.add_argument("--referee", default="../shared/referee/referee.py", help="scores the lists")
    parser.add_argument("--data", default="../shared/data", help="folder of the raw data sets; kuairand needs none")
    parser.add_argument("--rounds", type=int, default=2, help="how many turns each has; the slowest have one")
    parser.add_argument("--limit", type=float, default=600, help="seconds after which a process is stopped")
    parser.add_argument("--on", choices=["valid", "test"], default="test", help="valid: try settings, record nothing")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="with --on valid: other settings")
    parser.add_argument("--environments", default="runs/peers", help="folder for the environments")
    parser.add_argument("--work", default="runs/peers/work", help="folder for datasets and runs")
    arguments = parser.parse_args(words)
    names = arguments.contenders or list(CONTENDERS)
    if unknown := [name for name in names if name not in CONTENDERS]:
        parser.error(f"there is no contender {unknown[0]!r}; there are {', '.join(CONTENDERS)}")
    work = work_folder(Path(arguments.work), arguments.protocol)
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "dataset").exists():
        options = TABLES[arguments.protocol].options(Path(arguments.data), work)
        spend([TOWERS, "prepare", *options, f"dataset={work / 'dataset'}"])
    if arguments.on == "valid":
        for name in names:
            choose(name, work, arguments)
        return
    task_of(Dataset.open(work / "dataset"), Split.test).save(work / "task.npz")
    for number in range(arguments.rounds):
        for name in names:
            if number == 0 or not getattr(CONTENDERS[name], "once", False):
                take_turn(name, number, work, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
