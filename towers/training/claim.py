"""Whose a run folder is: one set of options, one process at a time."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from towers.data import write_json
from towers.types import RunError, hold_alone

CONFIG, LOCK = "config.json", ".lock"
FREE = {"accelerator", "dataset", "engagement", "progress", "run", "threads", "trainer"}
"""Options that may differ when a run goes on; what the dataset holds is told by its fingerprint, and
a head can be fitted to towers that are there."""


@contextmanager
def claimed(folder: Path, plain: dict[str, Any], defaults: dict[str, Any]) -> Iterator[None]:
    """Hold a run folder for these options until the end of the block; the lock goes with the process.

    Args:
        folder: Made where it does not exist. Options with which nothing was learned, since the first epoch failed, give
            way to these.
        plain: The options as plain values.
        defaults: What options were that a run does not name, since they are newer than it; as plain values.

    Raises:
        RunError: It holds a run with other options, or something else, or another process trains in it.
    """
    if _options(folder) is None:
        foreign = sorted(path.name for path in folder.glob("*") if path.name != LOCK)
        if foreign:
            raise RunError(f"{folder} holds {foreign[0]} and is no run; choose another run=FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        trains = f"another process trains in {folder}; wait for it, or choose another run=FOLDER"
        hold_alone(lock, RunError(trains))
        if told := begun(folder):
            before = filled(told, defaults)
            if before["precision"] == "auto":  # older runs left it open
                before["precision"] = plain["precision"]
            _compare(folder, before, plain)
        else:
            if _options(folder) != plain:
                for rest in folder.glob("learning_rate.*"):  # found for the options that give way
                    rest.unlink()
            write_json(folder / CONFIG, plain)
        yield


def begun(folder: Path) -> dict[str, Any]:
    """Return the options that what was learned in a folder was learned with, nothing where nothing was.

    Raises:
        RunError: Its config.json is of something else.
    """
    # An epoch leaves its weights and its figures; other options would spoil either.
    learned = any((folder / name).is_file() for name in ("history.csv", "run.json"))
    learned = learned or any(folder.glob("checkpoints/*/*.ckpt"))
    return (_options(folder) or {}) if learned else {}


def _options(folder: Path) -> dict[str, Any] | None:
    """Return what a run was told, whether or not anything came of it; None where there is no page of options."""
    page = folder / CONFIG
    if not page.is_file():
        return None
    try:
        found = json.loads(page.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict) or "dataset_fingerprint" not in found:
        raise RunError(f"{page} is not of a run of towers; choose another run=FOLDER")
    return found


def _compare(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    if before.get("dataset_fingerprint") != now["dataset_fingerprint"]:
        raise RunError(
            f"{folder} holds a run on another dataset than {now['dataset']}, or that was prepared anew "
            "since, of other events; choose another run=FOLDER, or delete that one"
        )
    told = sorted(now.keys() - FREE)
    found = [each for name in told for each in _differences(name, before.get(name), now[name])]
    if found:
        what = ", ".join(f"{option} was {was} and is now {is_now}" for option, was, is_now in found)
        raise RunError(
            f"{folder} holds a run with other options: {what}; choose another run=FOLDER, or delete that one"
            f"{_going_on([(option, was) for option, was, _ in found])}"
        )


def _going_on(other: list[tuple[str, Any]]) -> str:
    """Return how a run goes on; a variant is asked for in another way than its options."""
    if any(was is None or isinstance(was, dict) or option.endswith(".kind") for option, was in other):
        return ""
    words = (f"{option}={was if isinstance(was, str) else json.dumps(was)}" for option, was in other)
    return f"; with {' '.join(words)} it goes on"


def _differences(option: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401 - of any kind
    """Go through the options, within groups, that differ, and both their values; another variant is all there is."""
    if not (isinstance(before, dict) and isinstance(now, dict)) or before.get("kind") != now.get("kind"):
        if before != now:
            yield _named(option, before, now)
        return
    for name in sorted(before.keys() | now.keys()):
        yield from _differences(f"{option}.{name}", before.get(name), now.get(name))


def _named(option: str, before: Any, now: Any) -> tuple[str, Any, Any]:  # noqa: ANN401 - options are of any kind
    if isinstance(before, dict) and isinstance(now, dict):
        return f"{option}.kind", before.get("kind"), now.get("kind")
    return option, before, now


def filled(options: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return options with the defaults of those that they lack, in groups of options too.

    Example:
        >>> filled({"seed": 7, "optim": {"epochs": 3}}, {"seed": 0, "optim": {"epochs": 0, "steer": "recall@100"}})
        {'seed': 7, 'optim': {'epochs': 3, 'steer': 'recall@100'}}
    """
    groups = [
        name for name, value in defaults.items() if isinstance(value, dict) and isinstance(options.get(name), dict)
    ]
    return defaults | options | {name: filled(options[name], defaults[name]) for name in groups}


def defaults_of(options: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Return the defaults of a dataclass and of those it holds; what must be given is left out.

    Example:
        >>> from towers.training.config import TrainerConfig
        >>> defaults_of(TrainerConfig(devices=4))
        {'devices': 1, 'strategy': <Strategy.auto: 'auto'>}
    """
    found = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            found[field.name] = defaults_of(value)
        elif field.default is not dataclasses.MISSING:
            found[field.name] = field.default
    return found
