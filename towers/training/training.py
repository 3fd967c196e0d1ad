"""From a dataset to trained towers: choose the epoch on valid, then learn from train and valid together."""

import dataclasses
import logging
import time
from contextlib import ExitStack
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Int64
from torch.nn.functional import cosine_similarity

from towers.data import TIME_UNKNOWN, Dataset, Positives, Split, write_json
from towers.data.vocabulary import UNKNOWN_ROW
from towers.evaluation import EvaluationSet, validate
from towers.features import SAMPLERS, BatchSource, FeatureTable, Trend, aged, encode_table, spectral_vectors
from towers.losses import LOSSES
from towers.models import PopularityTerm, Run, TwoTower, describe_model, open_run, save_towers
from towers.models.run import RUN, TOWERS
from towers.training.choose import Facts, settle
from towers.training.claim import CONFIG, begun, claimed, defaults_of
from towers.training.config import Accelerator, TrainConfig
from towers.training.engagement import BEFORE, add_engagement, refuse_without_exposures, warn_of_outcomes
from towers.training.find import found, learning_rate
from towers.training.journal import Row
from towers.training.launch import launch
from towers.training.miner import Miner
from towers.training.precision import products_of
from towers.training.ranks import Ranks, joined, launched
from towers.training.stage import Stage, best_epoch
from towers.training.strength import with_strength
from towers.training.summary import summary
from towers.types import DAY_MS, ConfigError, DataError

_log = logging.getLogger(__name__)

LEAN = 0.2
"""How much queries of towers in closed form lean on popularity: of KuaiRand's valid, .1 finds recall@100 .359, .2 .386
and .3 .385 (d 64, 6,000 users, before there was such a tower; trials without rows)."""
SAME_WAY = 1 - 1e-6
"""Cosine above which two vectors point the same way, as far as float32 tells."""
START = 0.1
"""Length of what a user is to them before anything was watched; a video's is 1."""


def train(config: TrainConfig) -> Run:
    """Train the towers of a dataset; go on with a run that was interrupted.

    The epoch is chosen by a figure of the valid split, `optim.steer`, exactly measured. Its towers are then trained for
    `refit_epochs` more on train and valid together, since what was watched last says most about what
    comes next; with `refit_afresh` new towers learn from both, for as many epochs as were chosen.

    Where several processes share the work (`config.trainer`, or torchrun), each batch is dealt out among
    them, and what is learned is what one process would learn, up to rounding and what dropout draws.

    Args:
        config: What to do; `config.run` is the folder that is written. With `engagement.fit` a finished run
            gets an engagement head.

    Returns:
        The finished run.

    Raises:
        ConfigError: It asks for a GPU, and there is none.
        DataError: The dataset is no dataset or has nothing to learn from.
        RunError: The folder holds a run with other options, the loss is not finite, or a process was killed.
    """
    if config.trainer.several and not launched():
        launch(config)
    else:
        with ExitStack() as held:
            with joined(config.trainer.devices) as ranks:
                dataset = _train(config, ranks, held)
            if config.engagement.fit and ranks.first:  # once they have parted: nobody waits for it
                add_engagement(config.engagement, Path(config.run), dataset, config.seed)
    return open_run(config.run)


def _train(config: TrainConfig, ranks: Ranks, held: ExitStack) -> Dataset:
    """Train, and return the dataset; the run's folder stays claimed for as long as `held`."""
    folder = Path(config.run)
    dataset = Dataset.open(config.dataset)
    if not dataset.positives(Split.train).weight.any():
        raise DataError(
            f"{config.dataset} has no positive event of a weight above 0 in train; "
            "look at data.positive, data.weight and the cut, and prepare again"
        )
    if config.accelerator is Accelerator.gpu and not torch.cuda.is_available():
        raise ConfigError("accelerator is gpu, and torch finds none here; auto takes one where there is one, else cpu")
    config, lines = settle(config, Facts.of(dataset))
    before = begun(folder).get("precision", "auto")
    products = ranks.gather(products_of(config, before))[0]  # hosts may differ in what is faster
    if config.precision is not products and not config.closed_form:
        why = "it is the faster one here" if before == "auto" else "the run was begun in it"
        lines.append(f"precision={products.name}: {why}")
    config = dataclasses.replace(config, precision=products)
    for line in lines if ranks.first and not (folder / RUN).is_file() else []:
        _log.info("chosen: %s", line)
    users = EvaluationSet.of(dataset, Split.valid)
    if config.engagement.fit:
        refuse_without_exposures(config.engagement, dataset)
        if ranks.first:
            warn_of_outcomes(config.engagement, dataset)
    plain = describe(config) | {"dataset_fingerprint": ranks.same(dataset.fingerprint, "the dataset")}
    ranks.once(lambda: held.enter_context(claimed(folder, plain, _named(defaults_of(config)))))
    ranks.same((folder / CONFIG).is_file(), f"the existence of {folder / CONFIG}")
    if ranks.same((folder / RUN).is_file(), f"the existence of {folder / RUN}"):
        _log.info("%s had already finished; its towers stay as they are", folder)
    else:
        _learn(config, dataset, users, plain, ranks)
    return dataset


def _learn(config: TrainConfig, dataset: Dataset, users: EvaluationSet, plain: dict[str, Any], ranks: Ranks) -> None:
    """Go through both stages and write what came of them."""
    began = time.perf_counter()
    _refuse_without_passed(config, dataset)
    if config.threads or ranks.here > 1:
        torch.set_num_threads(config.threads or max(1, torch.get_num_threads() // ranks.here))
    features = (
        encode_table(dataset.encoders.users, dataset.user_table()),
        encode_table(dataset.encoders.videos, dataset.video_table()),
    )
    valid = partial(
        validate,
        users=users,
        user_table=features[0],
        video_table=features[1],
        part=ranks.rank,
        parts=ranks.count,
    )
    fit = Stage(name="fit", config=config, epochs=config.optim.epochs, validate=valid, before=[], ranks=ranks)
    before, rows = _stage(fit, dataset, features, [Split.train])
    figures = with_strength(before, config, valid, ranks)
    chosen, refit_rows = before, list[Row]()
    if config.refit_epochs:
        best = best_epoch(rows, config.optim.steer)
        epochs, begin = (best, None) if config.refit_afresh or config.closed_form else (config.refit_epochs, before)
        again = Stage(name="refit", config=config, epochs=epochs, validate=None, before=rows, ranks=ranks)
        chosen, refit_rows = _stage(again, dataset, features, [Split.train, Split.valid], begin=begin)
        chosen.config = before.config

    def finish() -> None:
        if chosen is not before and not (config.refit_afresh or config.closed_form):
            save_towers(before, Path(config.run) / BEFORE)
        save_towers(chosen, Path(config.run) / TOWERS)
        told = summary(plain, [rows, refit_rows], figures, chosen, time.perf_counter() - began)
        write_json(Path(config.run) / RUN, told | {"learning_rate": learning_rate(config)})

    ranks.once(finish)


def _refuse_without_passed(config: TrainConfig, dataset: Dataset) -> None:
    """Refuse options about what users were shown and passed over where there is nothing of the kind."""
    if (config.passed_weight != 1 or config.passed_each) and not len(dataset.passed(Split.train)):
        name = "passed_each" if config.passed_each else "passed_weight"
        raise DataError(
            f"{name} is {getattr(config, name)}, and {config.dataset} has nothing in train that users were shown and "
            "passed over; prepare a log with such rows (data.positive says which are watched), or leave it out"
        )


def describe(config: TrainConfig) -> dict[str, Any]:
    """Return the config as plain values; variants say their `kind`."""
    plain: dict[str, Any] = _named(dataclasses.asdict(config))
    kinds: dict[type, str] = {variant: kind for names in (LOSSES, SAMPLERS) for kind, variant in names.items()}
    for field in ("loss", "sampler"):
        plain[field] = {"kind": kinds[type(getattr(config, field))], **plain[field]}
    return plain | {"model": describe_model(config.model)}


def _named(value: object) -> Any:  # noqa: ANN401 - what came in
    """Return plain values with the names of enum members in place of them."""
    if isinstance(value, dict):
        return {name: _named(part) for name, part in value.items()}
    return value.name if isinstance(value, Enum) else value


def _stage(
    stage: Stage,
    dataset: Dataset,
    features: tuple[FeatureTable, FeatureTable],
    splits: list[Split],
    begin: TwoTower | None = None,
) -> tuple[TwoTower, list[Row]]:
    """Return the towers that a stage ends with, and its journal; it begins with given weights, or new ones."""
    config, positives = stage.config, dataset.positives(*splits)
    if config.half_life_days:
        positives = aged(positives, config.half_life_days)
    pl.seed_everything(config.seed, verbose=False)
    model = TwoTower(
        config.model,
        dataset.encoders,
        torch.from_numpy(_admitted(positives, len(dataset.videos), config)),
        torch.from_numpy(_admitted_users(positives, config)),
    )
    if config.closed_form:
        return model, stage.measured(model, _stand(model, dataset, positives, config))
    if begin is not None:
        model.continue_from(begin)
    elif config.model.spectral and not config.model.id_buckets:
        if stage.ranks.first:
            _log.info("laying out the videos by who watched them")
        laid = spectral_vectors(positives, len(dataset.videos), config.model.dim, config.seed)
        model.begin_ids(torch.from_numpy(laid))
    eligible = _eligible(dataset, positives)
    trend = _told_of_trend(model, config, positives, eligible)
    source = BatchSource(
        positives,
        features[0],
        features[1],
        eligible,
        config.sampler,
        config.model.window,
        config.optim.positions,
        config.shuffle,
        part=stage.ranks.rank,
        parts=stage.ranks.count,
        hardest=Miner(model, positives, *features, eligible),
        trend=trend,
        passed=dataset.passed(*splits) if config.passed_weight != 1 or config.passed_each else None,
        passed_weight=config.passed_weight,
        passed_each=config.passed_each,
    )
    if config.optim.find:
        stage = dataclasses.replace(stage, config=found(config, model, source, stage.ranks))
    return model, _run(stage, model, source)


def _run(stage: Stage, model: TwoTower, source: BatchSource) -> list[Row]:
    """Run a stage. Where nothing taught the unknown id, as no id was left out, it is what the known have in common."""
    began = model.ids.weight[UNKNOWN_ROW].detach().clone()
    rows = stage.run(model, source)
    with torch.no_grad():
        ended = model.ids.weight[UNKNOWN_ROW]
        # Decay alone makes it shorter, and a mean of weights rounds. What turned it by less has taught it nothing.
        untaught = not model.config.id_buckets and float(cosine_similarity(ended, began, dim=0)) > SAME_WAY
        if untaught and model.known.any():
            model.ids.weight[UNKNOWN_ROW] = model.ids.weight[model.known].mean(0)
    return rows


def _stand(model: TwoTower, dataset: Dataset, positives: Positives, config: TrainConfig) -> float:
    """Lay towers out that need no training; return the seconds it took."""
    began, rows = time.perf_counter(), len(dataset.videos)
    vectors = spectral_vectors(positives, rows, config.model.dim, config.seed)
    usual = np.bincount(positives.video_row, minlength=rows).astype(np.float32) @ vectors
    start = usual * np.float32(START / max(float(np.linalg.norm(usual)), 1e-9))
    model.stand(torch.from_numpy(vectors), torch.from_numpy(start), LEAN)
    _told_of_trend(model, config, positives, _eligible(dataset, positives))
    return time.perf_counter() - began


def _told_of_trend(
    model: TwoTower, config: TrainConfig, positives: Positives, eligible: Int64[np.ndarray, " c"]
) -> Trend | None:
    """Tell the towers how popular videos are now, and return how they came to be; None for towers without the term."""
    if not config.model.leans:
        return None
    rows = len(model.known)
    if config.model.popularity is PopularityTerm.total:
        trend = Trend.total(positives, eligible, rows)
    else:
        trend = Trend.of(positives, eligible, rows, config.model.popularity_days)
    model.tell(torch.from_numpy(trend.now))
    return trend


def _admitted(positives: Positives, rows: int, config: TrainConfig) -> Bool[np.ndarray, " rows"]:
    """Return which videos have an id of their own: watched often enough, and not too long ago."""
    admitted = np.bincount(positives.video_row, minlength=rows) >= (config.model.id_min_count or 1)
    if config.model.id_expiry_days and positives.video_row.size:
        oldest = positives.time_ms.max() - int(config.model.id_expiry_days * DAY_MS)
        fresh = np.zeros(rows, bool)
        fresh[positives.video_row[(positives.time_ms >= oldest) | (positives.time_ms == TIME_UNKNOWN)]] = True
        admitted &= fresh
    return admitted


def _admitted_users(positives: Positives, config: TrainConfig) -> Bool[np.ndarray, " users"]:
    """Return which users have a vector of their own: those of whom enough events teach something."""
    counted = np.concatenate([[0], np.cumsum(positives.weight > 0)])
    return np.diff(counted[positives.offsets]) >= config.model.user_id_min_count


def _eligible(dataset: Dataset, positives: Positives) -> Int64[np.ndarray, " c"]:
    """Return the rows of videos that were there to be watched: met before the cut, or watched in these events."""
    met = np.concatenate([np.zeros(2, bool), dataset.video_table()["known"].to_numpy()])
    met[positives.video_row] = True
    return np.flatnonzero(met)
