"""Towers against the floors: one function from a run's folder to a report."""

import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from towers.data import Dataset, Split
from towers.evaluation.cold import among_new
from towers.evaluation.config import EvaluateConfig, Judged, every_floor
from towers.evaluation.engaged import engagement_of
from towers.evaluation.evaluation_set import EvaluationSet
from towers.evaluation.exact import DEPTH, rank
from towers.evaluation.fitted import Fitted, floor_blocks
from towers.evaluation.floors import FLOORS
from towers.evaluation.interval import intervals
from towers.evaluation.lists import write_lists
from towers.evaluation.measure import Measured, measure
from towers.evaluation.page import write_page
from towers.evaluation.past import Past
from towers.evaluation.report import Report, best_of, refuse_other, verdict_of
from towers.evaluation.showcase import Showcase
from towers.evaluation.slices import Background, slices
from towers.features import encode_table
from towers.models import Run, open_run
from towers.types import ConfigError, DataError, TowersError, peak_mb

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rivals:
    """The floors, ranked and measured.

    Attributes:
        measured: Name → what they are worth.
        left_out: Option value → why it could not be fitted here.
    """

    measured: dict[str, Measured]
    left_out: dict[str, str]


def evaluate(config: EvaluateConfig) -> Report:
    """Return how good a run's towers are, and write the report and the lists.

    All users with something to find in the split are ranked exactly over the whole catalogue,
    what they watched before left out; the headline is over those with a past.

    Memory beside the dataset: the towers' lists, 12 B × users × 100, the per-user figures,
    2 × 25 × 8 B × users, the video vectors, the index of them and a block of work; a floor's lists are never held.
    With a million users, a million videos and 64 dimensions: 1.2 + 0.4 + 0.3 + 0.4 + 0.1 = 2.4 GB.

    Args:
        config: What to evaluate and where to write.

    Returns:
        The report; report.json and report.html are in :func:`folder_of` the config, and a copy in the run's folder
        where it is the first, or on test against all floors.

    Raises:
        RunError: The run has not finished.
        ConfigError: The split is valid and the run was refitted on it, or the report's folder holds something else.
        DataError: The dataset is not the one the towers were trained on, or has nobody to ask.
    """
    began = time.perf_counter()
    run = open_run(config.run)
    if run.info.get("refitted") and config.split is Judged.valid:
        raise ConfigError(f"split is valid, which the run {run.folder} was refitted on; evaluate it on split=test")
    folder = folder_of(config)
    refuse_other(folder, config.lists)
    dataset, split = open_dataset(run, config.dataset), Split[config.split.name]
    users = EvaluationSet.of(dataset, split)
    engaged = engagement_of(run, dataset, split, config.draws, config.seed) if config.engagement else None
    encoders = dataset.encoders
    tables = encode_table(encoders.users, dataset.user_table()), encode_table(encoders.videos, dataset.video_table())
    ours = rank(run.towers, users, *tables)
    if config.lists is not None:
        write_lists(ours, users, dataset, Path(config.lists))
    past = Past.of(dataset, split)
    background = _background(dataset, users, past, split)
    measured = measure([ours], users, background.new_video, config.draws, config.seed)
    measured.figures.update(among_new(run.towers, users, tables, background.new_video, config.draws, config.seed))
    rivals = _rivals(config, past, users, background)
    report = replace(_report(config, dataset, users, measured, rivals, background), engagement=engaged)
    folder.mkdir(parents=True, exist_ok=True)
    shown = {"towers": measured.shown, report.best_floor: rivals.measured[report.best_floor].shown}
    showcase = Showcase(report, run.info, run.folder / "history.csv", background.popularity, shown)
    write_page(showcase, folder, dataset, (users, ours, config))
    report.cost.update(seconds=round(time.perf_counter() - began, 3), peak_mb=round(peak_mb(), 1))
    report.write(folder)
    _keep(folder, run.folder / "report", config)
    return report


def _keep(folder: Path, own: Path, config: EvaluateConfig) -> None:
    """Let the run keep a copy, which publishing takes: of the first report, and of each on test against all floors."""
    first = not (own / "report.json").is_file()
    if folder.resolve() == own.resolve() or not (_is_whole(config) or first):
        return
    own.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "report.json"):
        partial = shutil.copyfile(folder / name, own / f".{name}.partial")
        partial.replace(own / name)


def folder_of(config: EvaluateConfig) -> Path:
    """Return where a report goes: where it is asked for, else to the run, whose report no quick look replaces."""
    own = Path(config.run) / "report"
    if config.report or _is_whole(config) or not _holds_whole(own):
        return Path(config.report or own)
    return own.with_name(f"report-{config.split.name}")


def _holds_whole(folder: Path) -> bool:
    """Say whether a folder has a report that can be read, on test against all floors."""
    try:
        there = Report.read(folder)
    except (OSError, ValueError, TowersError):
        return False
    return there.setting.get("split") == "test" and len(there.floors) + len(there.left_out) == len(every_floor())


def _is_whole(config: EvaluateConfig) -> bool:
    return config.split is Judged.test and set(config.floors) == set(every_floor())


def open_dataset(run: Run, folder: str | None) -> Dataset:
    """Open the dataset of a run, or another copy of it.

    Raises:
        DataError: Its videos or features are not those the towers were trained on.
    """
    dataset = Dataset.open(folder or run.dataset)
    trained_on = run.info.get("dataset_fingerprint")
    if trained_on is not None and dataset.fingerprint != trained_on:
        raise DataError(
            f"dataset {dataset.folder} has fingerprint {dataset.fingerprint[:12]}, the run {run.folder} was trained on "
            f"{trained_on[:12]}; name the dataset it was trained on (dataset=…), or train again"
        )
    return dataset


def _background(dataset: Dataset, users: EvaluationSet, past: Past, split: Split) -> Background:
    events = dataset.events(["user_row", "split"])
    before = events["user_row"][events["split"] < split]
    activity = np.bincount(before, minlength=len(dataset.users))[users.users]
    return Background(past.counts(np.ones(len(past.column), bool)), activity)


def _rivals(config: EvaluateConfig, past: Past, users: EvaluationSet, background: Background) -> Rivals:
    found = Rivals({}, {})
    for option in config.floors:
        floor = FLOORS[option]()
        if (reason := floor.refusal(past)) is not None:
            found.left_out[option] = reason
            continue
        _log.info("fitting the floor %s", option)
        fitted: Fitted = floor.fit(past)
        lists = floor_blocks(fitted, users, DEPTH)
        found.measured[fitted.name] = measure(lists, users, background.new_video, config.draws, config.seed)
        del fitted, lists  # a video × video table, which the next floor must not stand beside
    if not found.measured:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.left_out.items())
        raise DataError(f"none of the floors can be fitted ({reasons}); add popular to floors")
    return found


def _report(
    config: EvaluateConfig,
    dataset: Dataset,
    users: EvaluationSet,
    measured: Measured,
    rivals: Rivals,
    background: Background,
) -> Report:
    floors = {name: found.figures for name, found in rivals.measured.items()}
    best = best_of(floors)
    pair = [found.recall[users.warm] for found in (measured, rivals.measured[best])]
    gain = intervals((pair[0] - pair[1])[:, None], config.draws, config.seed)[0]
    everybody = {"towers": measured} | rivals.measured
    return Report(
        protocol=dataset.protocol,
        setting=_setting(config, dataset, users),
        metrics=measured.figures,
        floors=floors,
        left_out=rivals.left_out,
        verdict=verdict_of(gain, measured.value("recall@100"), best, rivals.measured[best].value("recall@100")),
        gain=gain,
        slices=slices(measured.found, rivals.measured[best].found, users, background, config.draws, config.seed),
        curves={name: found.recall_by_k for name, found in everybody.items()},
        cost={},
    )


def _setting(config: EvaluateConfig, dataset: Dataset, users: EvaluationSet) -> dict[str, Any]:
    return {
        "split": config.split.name,
        "run": config.run,
        "dataset_fingerprint": dataset.fingerprint,
        "candidates": users.catalogue,
        "masked": "each user's earlier positives",
        "watched again, so not to be found": users.repeated,
        "search": "exact, full catalogue",
        "recall": "hits / relevant; recall_capped: hits / min(relevant, k)",
        "ties": "against the towers; floors by lower row",
        "interval": f"95%, percentile bootstrap over users, {config.draws} draws, seed {config.seed}",
        "floors": "fitted on everything before the split, options chosen on valid",
    }
