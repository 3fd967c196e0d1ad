"""Judges answers by looking at every vector: what was shown, whether it may be, its scores, and what was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.soak.world import Id, Person, World
from towers.data import TIME_UNKNOWN
from towers.features import Requests
from towers.models import query_vectors

LONGEST = 1000
"""How many positives of a person the store keeps."""
FAR = 1e-4
"""How far a score may be from its own inner product, for products above 1 as a share."""


@dataclass(frozen=True, eq=False)
class Seen:
    """An answer, and what was true when it came.

    Attributes:
        what: The request, for messages.
        user: The bundle's row of who asked.
        history: Rows of what they watched, oldest first.
        history_ms: When.
        asked_ms: The moment that was asked for, TIME_UNKNOWN for none.
        k: How many were asked for.
        hidden: Rows that may not be shown: watched or excluded.
        allowed: Rows that a filter leaves; None without one.
        alive: Which rows are to be shown, [rows].
        unsure: Rows that may be shown or not: their change was under way.
        exact: Whether the history is known for certain, so that scores are.
        ids: What was answered.
        rows: The row of each, -1 where there is none.
        doubted: Of each whether it may be there or not, as `unsure`, [n].
        scores: As answered.
    """

    what: str
    user: int
    history: np.ndarray
    history_ms: np.ndarray
    asked_ms: int
    k: int
    hidden: np.ndarray
    allowed: np.ndarray | None
    alive: np.ndarray
    unsure: np.ndarray
    exact: bool
    ids: list[Id]
    rows: np.ndarray
    doubted: np.ndarray
    scores: np.ndarray

    def may(self) -> np.ndarray:
        """Return which rows may be shown for certain, [rows]."""
        may = self.alive.copy()
        if self.allowed is not None:
            suiting = np.zeros_like(may)
            suiting[self.allowed[self.allowed < len(may)]] = True
            may &= suiting
        may[self.hidden] = False
        may[self.unsure] = False
        return may


def seen_of(world: World, person: Person, body: Mapping[str, Any], reply: Mapping[str, Any], unsure: set[Id]) -> Seen:
    """Return an answer with what is true now.

    Args:
        world: The account.
        person: Who asked; nothing they told is under way.
        body: What they asked for.
        reply: What was answered.
        unsure: Videos of which a change was under way between question and answer.
    """
    exact, shown = reply["history_known"], reply["video_ids"]
    if not exact:  # what was watched since the bundle may count or not
        unsure = unsure | {video for _, video in person.watched}
    history, history_ms = world.history(person, LONGEST)
    window, allowed = world.bundle.towers.window, None
    exact &= not np.isin(history[-window:], world.rows_of(unsure | world.shaky)).any()
    if filters := body.get("only") or body.get("without"):
        allowed = world.suiting(*next(iter(filters.items())))
        if "without" in body:
            allowed = np.setdiff1d(np.arange(world.rows), allowed)
    return Seen(
        what=f"{body}, answered by {reply['bundle_version']}",
        user=person.row,
        history=history[-window:],
        history_ms=history_ms[-window:],
        asked_ms=body.get("time_ms", TIME_UNKNOWN),
        k=body["k"],
        hidden=np.concatenate([history, world.rows_of(body.get("exclude", ()))]),
        allowed=allowed,
        alive=world.alive.copy(),
        unsure=world.rows_of(unsure & world.row_of.keys()),
        exact=exact,
        ids=shown,
        rows=world.rows_of(shown),
        doubted=np.array([video in unsure for video in shown], bool),
        scores=np.array(reply["scores"], np.float32),
    )


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        faults: What is wrong.
        recall: Share of the true best that the answer has; None where that cannot be told.
    """

    faults: list[str]
    recall: float | None


def judge(world: World, seen: Sequence[Seen]) -> list[Verdict]:
    """Return a verdict on each answer."""
    queries = query_vectors(
        world.bundle.towers, world.vectors, _requests(seen), world.users.take(np.array([each.user for each in seen]))
    )
    return [_verdict(each, world.vectors, query) for each, query in zip(seen, queries, strict=True)]


def _requests(seen: Sequence[Seen]) -> Requests:
    longest = max(len(each.history) for each in seen)
    history, when = np.zeros((len(seen), longest), np.int64), np.full((len(seen), longest), TIME_UNKNOWN)
    for place, each in enumerate(seen):
        history[place, : len(each.history)], when[place, : len(each.history)] = each.history, each.history_ms
    return Requests(history, when, np.array([each.asked_ms for each in seen], np.int64))


def _verdict(seen: Seen, vectors: np.ndarray, query: np.ndarray) -> Verdict:
    may, faults = seen.may(), list[str]()
    sure = ~seen.doubted
    for at in np.flatnonzero(sure).tolist():
        if seen.rows[at] < 0 or not may[seen.rows[at]]:
            faults.append(f"{seen.ids[at]!r} {_why(seen, seen.rows[at])}")
    if len(set(seen.ids)) < len(seen.ids):
        faults.append("a video stands there twice")
    if (np.diff(seen.scores) > 0).any():
        faults.append("scores rise")
    if not min(seen.k, int(may.sum())) <= len(seen.ids) <= seen.k:
        faults.append(f"{len(seen.ids)} videos; {seen.k} were asked for and {int(may.sum())} may be shown")
    recall = None
    if seen.exact and not faults:
        products = vectors[: len(may)] @ np.atleast_2d(query).T
        faults, recall = _by_scores(seen, may, products.max(axis=1), sure)
    return Verdict([f"{fault}; asked: {seen.what}" for fault in faults], recall)


def _by_scores(seen: Seen, may: np.ndarray, true: np.ndarray, sure: np.ndarray) -> tuple[list[str], float | None]:
    rows, scores, faults = seen.rows[sure], seen.scores[sure], list[str]()
    allowance = FAR * max(1.0, float(np.abs(true).max()))
    apart = np.abs(true[rows] - scores)
    if len(rows) and apart.max() > allowance:
        at = int(apart.argmax())
        faults.append(f"row {rows[at]} scores {scores[at]:.6f}, its product is {true[rows[at]]:.6f}")
    wanted = min(seen.k - int((~sure).sum()), int(may.sum()))
    if wanted < 1:
        return faults, None
    best = np.partition(true[may], -wanted)[-wanted:]
    return faults, min(1.0, float((true[rows] >= best.min() - allowance).sum()) / wanted)


def _why(seen: Seen, row: int) -> str:
    """Return why a row may not be shown."""
    if row < 0 or not seen.alive[row]:
        return "was removed, or never there"
    return "was watched or excluded" if row in seen.hidden else "does not suit the filter"
