"""From a source of events to a dataset folder."""

import hashlib
import logging
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from towers.data.clean import clean_events
from towers.data.cut import Cut, TimeCut
from towers.data.dataset import FILES, MANIFEST, READ_AT, SCHEMA_VERSION, Dataset
from towers.data.engine import Engine, literal, quoted, text_of, translated
from towers.data.files import EVERY, Files
from towers.data.folder import atomic_folder, write_json
from towers.data.kuairand import KuaiRand
from towers.data.source import Source, Staged
from towers.data.things import (
    Fit,
    describe,
    fit_encoders,
    number_things,
    rejected_part,
    type_things,
    write_columns,
)  # fmt: skip
from towers.kinds import check_folders, check_kinds
from towers.types import ConfigError, DataError

_log = logging.getLogger(__name__)
SOURCES: dict[str, type[Source]] = {"kuairand": KuaiRand, "files": Files}
ORDER = ["time_ms, unknown first", "position", "place in the source"]
SPLITS = ("train", "valid", "test")
SOME = 0.05
"""The share of rejected events from which on they are more than the odd ones of any log."""
REMEDIES = {
    "time": "move cut.{name} earlier",
    "leave_one_out": "it takes users with three positives or more",
    "given": "mark events as {name} in the split column",
}
"""What fills an empty split, by the kind of cut."""


@dataclass(kw_only=True)
class PrepareConfig:
    """Turn a log of views into a dataset to train on."""

    data: Source
    """Where the events come from."""
    cut: Cut = field(default_factory=TimeCut)
    """How events are divided into train, valid and test, where the source does not say so itself."""
    dataset: str
    """The folder to make; a dataset that lies there is replaced once the new one is complete."""
    min_count: int = 2
    """How many users or videos must share a feature's value for it to get a code of its own."""
    buckets: int = 32
    """Into how many quantiles a numeric feature is cut."""
    memory: str = "2GB"
    """What the preparation may hold in memory before it spills to disk, beside the dataset."""
    threads: int | None = None
    """How many threads work; null for all cores. The result does not depend on it."""

    def __post_init__(self) -> None:
        check_kinds(self)
        check_folders(self, "dataset")
        if self.min_count < 1:
            raise ConfigError(f"min_count={self.min_count}; expected 1 or more")
        if self.buckets < 2:
            raise ConfigError(f"buckets={self.buckets}; expected 2 or more")


def prepare(config: PrepareConfig) -> Dataset:
    """Make the dataset folder, whole or not at all, and open it.

    Raises:
        DataError: The source cannot be read, makes no sense, or leaves nothing to learn from; the disk is full; or the
            folder holds something that no dataset does.
        ConfigError: An option makes no sense.
    """
    target = Path(config.dataset)
    before = _fingerprint(target)
    with translated(f"preparing {target}"), atomic_folder(target, own=(MANIFEST, READ_AT, *FILES)) as partial:
        work = partial / "work"
        work.mkdir()
        with Engine.opened(work, config.memory, config.threads) as engine:
            _build(engine, config, partial)
        shutil.rmtree(work)
    made = Dataset.open(target)
    if before not in {None, made.fingerprint}:
        _log.warning("%s held another dataset, which is replaced; runs trained on it have to be trained again", target)
    return made


def _fingerprint(folder: Path) -> str | None:
    """Return the fingerprint of the dataset that is there, None where there is none that can be read."""
    try:
        return Dataset.open(folder).fingerprint
    except (DataError, ValueError, KeyError, TypeError, AttributeError):  # whatever a JSON file may hold
        return None


def _build(engine: Engine, config: PrepareConfig, folder: Path) -> None:
    read_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    engine.run("create_malformed")
    staged = config.data.stage(engine)
    counts = clean_events(engine, staged)
    if "split" in staged.columns:
        engine.run("cut_given")
        cut = {"kind": "given", "valid_ms": None, "test_ms": None} | staged.cut
    else:
        cut = {"valid_ms": None, "test_ms": None} | config.cut.assign(engine)
    splits = _count_splits(engine, cut)
    rejected = type_things(engine, staged)
    number_things(engine, staged)
    encoders = fit_encoders(engine, staged, Fit(min_count=config.min_count, buckets=config.buckets))
    notes = describe(engine, staged, encoders)
    _write(engine, staged, folder)
    write_json(folder / "encoders.json", encoders.to_json())
    manifest = {
        "schema": SCHEMA_VERSION,
        "engine": f"duckdb {version('duckdb')}",
        "protocol": staged.protocol,
        "source": _plain(config.data, SOURCES),
        "cut": cut,
        "fit": {"min_count": config.min_count, "buckets": config.buckets},
        "order": ORDER,
        "repeats": staged.repeats.value,
        "events": counts | {"splits": splits},
        "users": _count_things(engine, "user") | {"rejected": rejected.get("users", {})},
        "videos": _count_things(engine, "video") | {"rejected": rejected.get("videos", {})},
        "labels": list(staged.labels),
        "features": notes,
        "checksums": {name: _checksum(folder / name) for name in FILES},
    }
    (folder / READ_AT).write_text(read_at + "\n", encoding="utf-8")
    write_json(folder / MANIFEST, manifest)
    why = ", ".join(f"{reason}: {count:,}" for reason, count in counts["rejected"].items())
    came, kept, twice = (f"{counts[name]:,}" for name in ("rows", "kept", "duplicates"))
    if (lost := sum(counts["rejected"].values())) > SOME * counts["rows"]:
        _log.warning("%s of %s events were rejected; rejected.parquet has each with its reason", f"{lost:,}", came)
    _log.info("events: %s came, %s kept, %s duplicates, rejected %s", came, kept, twice, why or "none")
    if staged.positive == EVERY:
        _log.info("every event counts as a positive: data.positive, an SQL condition over its columns, says which do")
    ((earliest, latest),) = engine.select("range_of_kept")
    if earliest is not None:
        _log.info("times: from %s to %s UTC", earliest, latest)
    for kind, reasons in rejected.items():
        if reasons:
            why = ", ".join(f"{reason}: {count:,}" for reason, count in reasons.items())
            _log.warning("%s: rejected %s; see rejected.parquet", kind, why)


def _count_splits(engine: Engine, cut: dict[str, Any]) -> dict[str, dict[str, int]]:
    found = {split: (rows, positives) for split, rows, positives in engine.select("count_splits")}
    if found.get(0, (0, 0))[1] == 0:
        where = f"before {cut['valid_ms']} ms" if cut["valid_ms"] is not None else "in train"
        total = sum(positives for _, positives in found.values())
        raise DataError(
            f"no positive lies {where}, so nothing can be learned ({total} positives in all); move cut.valid later"
        )
    splits = {
        name: dict(zip(("events", "positives"), found.get(number, (0, 0)), strict=True))
        for number, name in enumerate(SPLITS)
    }
    for name, counted in splits.items():
        if counted["positives"] == 0:
            remedy = REMEDIES.get(cut["kind"], "change the cut").format(name=name)
            _log.warning(
                "%s has no positive event (of %d), so nothing can be measured on it; %s, or let data.positive hold for "
                "more events",
                *(name, counted["events"], remedy),
            )
    return splits


def _count_things(engine: Engine, kind: str) -> dict[str, Any]:
    ((count, known, met),) = engine.select("count_things", kind=kind)
    return {"count": count, "known": known, "with_positives": met}


def _write(engine: Engine, staged: Staged, folder: Path) -> None:
    labels = "".join(f", events.{quoted(name)}" for name in staged.labels)
    engine.run("write_events", labels=labels, file=literal(folder / "events.parquet"))
    parts = [text_of("rejected_lines"), rejected_part("events", "judged", staged.events)]
    for kind, things in (("user", staged.users), ("video", staged.videos)):
        engine.run("write_things", kind=kind, file=literal(folder / f"{kind}s.parquet"), **write_columns(things))
        if things is not None:
            parts.append(rejected_part(f"{kind}s", f"typed_{kind}s", things.loaded))
    engine.run("write_rejected", parts=" UNION ALL ".join(parts), file=literal(folder / "rejected.parquet"))


def _plain(variant: Source | Cut, family: dict[str, Any]) -> dict[str, Any]:
    kind = next((name for name, sort in family.items() if type(variant) is sort), type(variant).__name__)
    return {"kind": kind} | _names(asdict(variant))


def _names(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {str(_names(key)): _names(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_names(item) for item in value]
    return value.name if isinstance(value, Enum) else value


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
