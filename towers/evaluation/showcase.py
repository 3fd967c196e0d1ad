"""What the page shows beyond report.json: people, videos and how training went."""

import csv
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from towers.data import Dataset
from towers.evaluation.evaluation_set import FIRST_ROW, EvaluationSet
from towers.evaluation.report import Report
from towers.types import Hits

SHOWN_VIDEOS = 10
"""Videos of each list of an example user."""
TEXT_LIMIT = 40
WORDS = {"upload_dt": "uploaded", "upload_date": "uploaded", "upload_type": "by", "video_type": "type"}
"""How columns read in a sentence, where their name does not."""

DATES = ("upload_dt", "upload_date")
"""Columns that were dates; `prepare` keeps a date as days since 1970."""


@dataclass(frozen=True)
class Showcase:
    """All that the page is drawn from, but for the example users.

    Attributes:
        report: The figures.
        info: What the run says about itself.
        training: The run's history.csv, which need not exist.
        popularity: Positives of each catalogue position before the split, [catalogue].
        shown: Who → how many users (with a past) each catalogue position was shown to, [catalogue].
    """

    report: Report
    info: dict[str, Any]
    training: Path
    popularity: Int64[np.ndarray, " catalogue"]
    shown: dict[str, Int64[np.ndarray, " catalogue"]]


@dataclass(frozen=True)
class Video:
    """A video as a person would want it described.

    Attributes:
        name: Its id.
        facts: Tags, author, duration and so on, most telling first.
        hit: Whether it was both shown and then watched.
        place: Where it stood in the towers' list, counted from 1; 0 where that goes without saying.
        before: Times it was watched to the end before the split, by anybody.
    """

    name: str
    facts: list[str]
    hit: bool
    place: int
    before: int


@dataclass(frozen=True)
class Example:
    """One user: what was watched, what would be shown, what was watched then.

    Attributes:
        name: The user's id.
        watched: The newest of what they watched before, newest first.
        offered: The first of what the towers would show, best first.
        then: What they did watch; a hit stands in the towers' first 100.
        found: How many of `then` the first 100 hold.
        past: How many videos they had watched before.
        to_find: How many they did watch.
    """

    name: str
    watched: list[Video]
    offered: list[Video]
    then: list[Video]
    found: int
    past: int
    to_find: int


def examples(
    dataset: Dataset, users: EvaluationSet, lists: Hits, popularity: np.ndarray, count: int, seed: int
) -> list[Example]:
    """Return users with a past, drawn at random, neither picked nor sorted by how well they came out.

    Args:
        dataset: For ids and features.
        users: The set.
        lists: The towers' lists, [q, 100].
        popularity: Positives of each catalogue position before the split, [catalogue].
        count: How many.
        seed: Of the draw.
    """
    warm = np.flatnonzero(users.warm)
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(warm, min(count, len(warm)), replace=False))
    part = users.pick(drawn)
    names = list(dataset.users.ids(part.users))
    table = dataset.video_table()
    found = []
    for place, at in enumerate(drawn):
        one = part.pick(np.array([place]))
        top = lists.ids[at][lists.ids[at] >= 0]
        wanted = one.truth[np.argsort(~np.isin(one.truth, top), kind="stable")]
        found.append(
            Example(
                name=str(names[place]),
                watched=_videos(table, popularity, one.history[::-1][:SHOWN_VIDEOS], np.empty(0, np.int64)),
                offered=_videos(table, popularity, top[:SHOWN_VIDEOS], wanted),
                then=_videos(table, popularity, wanted[:SHOWN_VIDEOS], top, tell_place=True),
                found=int(np.isin(wanted, top).sum()),
                past=len(one.history),
                to_find=len(wanted),
            )
        )
    return found


def _videos(
    table: pa.Table, popularity: np.ndarray, rows: np.ndarray, others: np.ndarray, *, tell_place: bool = False
) -> list[Video]:
    """Describe videos; a hit is one that is among the others too."""
    place = {row: place for place, row in enumerate(others.tolist(), 1)}
    lines = table.take(pa.array(rows.astype(np.int64) - FIRST_ROW)).to_pylist()
    return [
        Video(
            name=str(line["video_id"]),
            facts=_facts(line),
            hit=row in place,
            place=place.get(row, 0) if tell_place else 0,
            before=int(popularity[row - FIRST_ROW]),
        )
        for line, row in zip(lines, rows.tolist(), strict=True)
    ]


def _facts(line: dict[str, Any]) -> list[str]:
    """Return what a person would ask first: what it is about, who made it, how long it is."""
    facts = {name: value for name, value in line.items() if name not in {"video_row", "video_id", "known"}}
    ordered = sorted(facts, key=lambda name: (_interest(name), list(facts).index(name)))
    return [text for name in ordered if (text := _describe(name, facts[name])) is not None][:4]


def _interest(name: str) -> int:
    wanted = ("title", "caption", "tag", "categor", "genre", "author", "duration", "upload_dt", "music")
    return next((place for place, part in enumerate(wanted) if part in name), len(wanted))


def _describe(name: str, value: object) -> str | None:
    """Return one fact with its unit, or None where nothing is known or a person could not read it."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, list):
        if not value or isinstance(value[0], float):
            return None
        return f"{name} {', '.join(map(str, value))}"[:TEXT_LIMIT]
    if "duration" in name and isinstance(value, int | float):
        # A duration of 1,000 and more is in milliseconds whether or not its name says so.
        seconds = value / 1000 if name.endswith("_ms") or value >= 1000 else value
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if name in DATES and isinstance(value, int):
        value = date(1970, 1, 1) + timedelta(days=value)
    return f"{WORDS.get(name, name.removesuffix('_id').replace('_', ' '))} {value}"[:TEXT_LIMIT]


def training_curve(file: Path) -> list[dict[str, float]]:
    """Return the epochs of a run's history.csv that were judged on valid; empty where there is none.

    Epochs of a later refit are left out, and so are cells that are empty or no numbers.
    """
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return [
            {name: float(cell) for name, cell in line.items() if name and cell and _is_number(cell)}
            for line in csv.DictReader(lines)
            if line.get("stage", "fit") == "fit"
        ]


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) < float("inf")
    except ValueError:
        return False
