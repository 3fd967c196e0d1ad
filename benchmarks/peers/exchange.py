"""What a peer is given and what it gives back: two files of numpy arrays, so that an environment needs nothing more.

A peer's script is run by the peer's own Python as `python -m benchmarks.peers.NAME TASK ANSWER key=value …`.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

DEPTH = 100
"""How many videos a list has."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """Train events and the users to rank for; users and videos are numbered from 0.

    Attributes:
        offsets: Where each user's events begin, int64 [users + 1].
        videos: What was watched, oldest first within a user, int64 [n].
        times: When, ms; the smallest int64 where that is unknown, int64 [n].
        wanted: The users to rank for; each has events, int64 [q].
        catalogue: How many videos there are, each a candidate.
    """

    offsets: np.ndarray
    videos: np.ndarray
    times: np.ndarray
    wanted: np.ndarray
    catalogue: int

    @classmethod
    def load(cls, file: Path) -> "Task":
        """Read what `save` wrote."""
        with np.load(file) as arrays:
            of_users = {name: arrays[name] for name in ("offsets", "videos", "times", "wanted")}
            return cls(**of_users, catalogue=int(arrays["catalogue"]))

    def save(self, file: Path) -> None:
        """Write all of it."""
        np.savez(
            file,
            offsets=self.offsets,
            videos=self.videos,
            times=self.times,
            wanted=self.wanted,
            catalogue=np.int64(self.catalogue),
        )

    @property
    def users(self) -> np.ndarray:
        """Whose each event is, int64 [n]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def past(self, user: int) -> np.ndarray:
        """Return what one user watched, oldest first."""
        part: np.ndarray = self.videos[self.offsets[user] : self.offsets[user + 1]]
        return part

    def windows(self, users: np.ndarray, ends: np.ndarray, length: int) -> np.ndarray:
        """Return the last videos before each place, plus 1, zeros before the oldest, int64 [q, length].

        Args:
            users: Whose, [q].
            ends: Place in `videos` of the first event that is not seen any more, [q].
            length: How many at most.
        """
        place = ends[:, None] - np.arange(length, 0, -1)
        real = place >= self.offsets[users][:, None]
        found: np.ndarray = np.where(real, self.videos[np.maximum(place, 0)] + 1, 0)
        return found

    def best(self, score: Callable[[np.ndarray], np.ndarray], block: int = 1024) -> np.ndarray:
        """Rank the catalogue exactly for every wanted user, what the user watched left out.

        Videos that nobody watched before are left out too: a model of ids has learned nothing of them.

        Args:
            score: From users [b] to the scores of all videos [b, catalogue].
            block: How many users at a time.

        Returns:
            The best videos, best first, -1 where a list ends early, int64 [q, DEPTH].
        """
        depth = min(DEPTH, self.catalogue)
        ranked = np.full((len(self.wanted), DEPTH), -1)
        unknown = np.bincount(self.videos, minlength=self.catalogue) == 0
        for start in range(0, len(self.wanted), block):
            users = self.wanted[start : start + block]
            scores = np.array(score(users), np.float32)
            scores[:, unknown] = -np.inf
            for row, user in enumerate(users):
                scores[row, self.past(user)] = -np.inf
            top = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
            open_to = np.isfinite(np.take_along_axis(scores, top, axis=1))
            ranked[start : start + block, :depth] = np.where(open_to, top, -1)
        return ranked


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A peer that has been trained.

    Attributes:
        rank: Makes the lists, int64 [q, DEPTH], -1 where one ends early.
        fit_seconds: What the peer's own fit took.
        examples: How many positives it learned from, each as often as it was visited.
    """

    rank: Callable[[], np.ndarray]
    fit_seconds: float
    examples: int


def by_product(task: Task, users: np.ndarray, videos: np.ndarray) -> Callable[[], np.ndarray]:
    """Return what ranks by the inner product of two tables of vectors, [users, d] and [catalogue, d]."""
    return lambda: task.best(lambda rows: users[rows] @ videos.T)


def settings_of(words: list[str]) -> dict[str, str]:
    """Read `key=value` words.

    Raises:
        ValueError: A word without an equals sign.
    """
    parts = [word.partition("=") for word in words]
    if plain := [key for key, equals, _ in parts if not equals]:
        raise ValueError(f"{plain[0]!r} is no setting; write key=value")
    return {key: value for key, _, value in parts}


def peak_mb() -> float:
    """Return this process's largest resident memory; what its parent held before does not count."""
    status = Path("/proc/self/status")
    if status.exists():
        held = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(held.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def answer(distribution: str, train: Callable[[Task, Mapping[str, str]], Fitted]) -> None:
    """Run a peer's script: read the task, train, note the time and the memory, rank, write the answer.

    Args:
        distribution: The package's name, for its version.
        train: Trains with settings; what it returns ranks.
    """
    task, file, settings = Path(sys.argv[1]), Path(sys.argv[2]), settings_of(sys.argv[3:])
    fitted = train(Task.load(task), settings)
    facts = {"trained_at": time.time(), "peak_mb": peak_mb()}
    began = time.perf_counter()
    ranked = fitted.rank()
    facts |= {
        "fit_seconds": fitted.fit_seconds,
        "rank_seconds": time.perf_counter() - began,
        "examples_per_s": fitted.examples / fitted.fit_seconds,
    }
    np.savez(file, ranked=ranked, facts=json.dumps(facts | {"version": version(distribution)}))
