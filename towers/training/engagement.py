"""Fits the engagement head of trained towers: the base on train, what the towers add on valid."""

import logging
import math
import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor, nn
from torch.nn import functional

from towers.data import Dataset, Split
from towers.features.exposures import Exposures, context_values
from towers.metrics import Judgement, best_threshold
from towers.models import TwoTower, load_towers, open_run
from towers.models.engagement import Base, EngagementConfig, EngagementHead, Known
from towers.models.engagement_model import ENGAGEMENT, EngagementModel, open_engagement
from towers.models.occasions import Occasions
from towers.types import DataError, RunError

BEFORE = "towers-before-refit"
"""Folder of the towers that have not seen valid, in the run of such as have."""
BATCH, WARM_UP, FOLDS = 1024, 30, 3
LEAST_MET, MOST_VALUES = 10, 64
"""How often a circumstance's value has to be met in train to be known by itself, and how many such there are."""
LEAST_OF_BOTH = 20
"""Exposures of either outcome that train and valid must hold."""
COMPARED = 10_000
"""Valid exposures by which other towers' vectors are told from those that the head learned with."""
_log = logging.getLogger(__name__)


def fit_engagement(
    config: EngagementConfig, dataset: Dataset, before: TwoTower, towers: TwoTower, seed: int
) -> EngagementModel:
    """Return the engagement head of towers; the same seed gives the same head.

    Args:
        config: How.
        dataset: Whose exposures.
        before: The towers as they were before they saw valid, so that valid can tell what they are worth.
        towers: Those that the head will be asked about: the same, or `before` trained further.
        seed: Of weights, order and dropout.

    Raises:
        ConfigError: A column of the context is no circumstance.
        DataError: There are no exposures with times, or hardly any of one outcome.
        RunError: The loss is not finite.
    """
    occasions = Occasions.of(dataset, config.context)
    exposures = occasions.exposures
    train, valid = (_newest(exposures, split, config.exposures) for split in (Split.train, Split.valid))
    refuse_without_exposures(config, dataset)
    values = {name: context_values(texts[train], LEAST_MET, MOST_VALUES) for name, texts in exposures.context.items()}
    for name in (name for name, met in values.items() if not met):
        why = f"no value is met {LEAST_MET} times"
        _log.warning("engagement.context: %s tells nothing: %s; name columns of few values", name, why)
    known = {Split.train: occasions.known(values, train), Split.valid: occasions.known(values, valid)}
    liked = torch.from_numpy(exposures.liked.astype(np.float64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dim = before.dim
        sizes = occasions.sizes(values)
        head = EngagementHead(sizes, 1 + len(values), len(occasions.so_far.names), dim, config)
        _fit_base(head, known[Split.train], liked[train], known[Split.valid], liked[valid])
    inputs = head.inputs(known[Split.valid], *_tensors(occasions, before, valid))
    chance = _out_of_fold(head, inputs, liked[valid], exposures.user_row[valid])
    threshold = best_threshold(chance, exposures.liked[valid])
    figures = Judgement.of(chance, exposures.liked[valid], threshold).figures()
    head.fit_last(inputs, liked[valid])
    if towers is not before:
        some = np.sort(np.random.default_rng(seed).permutation(len(valid))[:COMPARED])
        asked = occasions.known(values, valid[some])
        head.recentre(inputs[some], head.inputs(asked, *_tensors(occasions, towers, valid[some])))
    told = ", ".join(f"{name} {figures[name]:.4f}" for name in ("auc", "f1", "log_loss"))
    _log.info("engagement head of %s train and %s valid exposures, on valid: %s", len(train), len(valid), told)
    return EngagementModel(head.eval(), values, occasions.so_far.names, threshold, figures)


def add_engagement(config: EngagementConfig, folder: Path, dataset: Dataset, seed: int) -> None:
    """Fit the head of a finished run and keep it there, unless the run has one of these options.

    Raises:
        RunError: The run was refitted and did not keep its towers of before.
    """
    there = open_engagement(folder)
    if there is not None and there.head.config == config:
        _log.info("%s has its engagement head already; nothing was fitted", folder)
        return
    run = open_run(folder)
    before = run.towers
    if run.info.get("refitted"):
        if not (folder / BEFORE).is_dir():
            raise RunError(
                f"{folder} was refitted on valid and holds no {BEFORE}, the towers that had not seen it, which an "
                "engagement head is learned with; train again"
            )
        before = load_towers(folder / BEFORE)
    fit_engagement(config, dataset, before, run.towers, seed).save(folder / ENGAGEMENT)


def refuse_without_exposures(config: EngagementConfig, dataset: Dataset) -> None:
    """Raise a DataError where an engagement head has nothing to learn from: before hours of training, not after."""
    exposures = Exposures.of(dataset, config.context)
    for split in (Split.train, Split.valid):
        places = _newest(exposures, split, config.exposures)
        _refuse_one_sided(dataset, exposures, split, places)
        users = len(np.unique(exposures.user_row[places]))
        if users < FOLDS:
            raise DataError(
                f"{dataset.folder}: the exposures in {split.name} are of {users} users; an engagement head needs at "
                f"least {FOLDS}. Prepare a longer log, or leave engagement.fit=false"
            )
    fold, liked = _fold(exposures.user_row[places]), exposures.liked[places]
    if any(liked[fold != number].min() == liked[fold != number].max() for number in range(FOLDS)):
        raise DataError(
            f"{dataset.folder}: without one in {FOLDS} users the exposures in valid are of one outcome alone, as too "
            "few users have the other; an engagement head needs both of more users. Prepare a longer log, or leave "
            "engagement.fit=false"
        )


def warn_of_outcomes(config: EngagementConfig, dataset: Dataset) -> None:
    """Warn of columns of the context that may say what came of a showing: those of which positives are made."""
    read = str(dataset.manifest.get("source", {}).get("positive", ""))
    for name in config.context:
        if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", read, re.IGNORECASE):
            told = f"data.positive={read!r} reads: leave it out unless it is known before the video is shown"
            _log.warning("engagement.context has %s, which %s", name, told)


def _fold(users: np.ndarray) -> Int64[np.ndarray, " n"]:
    """Return which part of valid each exposure belongs to, all of a user's to one, [n]."""
    # By rank, not by row: the users of valid may all have rows of one residue.
    return np.unique(users, return_inverse=True)[1] % FOLDS


def _newest(exposures: Exposures, split: Split, most: int) -> Int64[np.ndarray, " p"]:
    places = exposures.of_split(split)
    if len(places) <= most:
        return places
    return np.sort(places[np.argsort(exposures.time_ms[places], kind="stable")[-most:]])


def _refuse_one_sided(dataset: Dataset, exposures: Exposures, split: Split, places: np.ndarray) -> None:
    liked = int(exposures.liked[places].sum())
    if min(liked, len(places) - liked) < LEAST_OF_BOTH:
        raise DataError(
            f"{dataset.folder}: of {len(places)} exposures in {split.name} {liked} are positives; an engagement head "
            f"needs at least {LEAST_OF_BOTH} of both outcomes in train and in valid. Prepare a log that also holds "
            "what users were shown and passed over (data.positive says which events are positives), or leave "
            "engagement.fit=false"
        )


def _tensors(occasions: Occasions, towers: TwoTower, places: np.ndarray) -> tuple[Tensor, Tensor]:
    queries, vectors = occasions.vectors(towers, places)
    return torch.from_numpy(queries), torch.from_numpy(vectors)


def _fit_base(head: EngagementHead, train: Known, liked: Tensor, valid: Known, valid_liked: Tensor) -> None:
    """Train the base on train; keep the epoch with the least log loss on valid."""
    config, base = head.config, head.base
    base.standardise(train.numbers, fit=True)
    nn.init.zeros_(base.wide.weight)
    nn.init.constant_(base.wide.bias, math.log(float(liked.mean() / (1 - liked.mean()))))
    optimiser = torch.optim.AdamW(base.parameters(), lr=config.learning_rate, weight_decay=0)
    steps, done = config.epochs * -(-len(train) // BATCH), 0
    best, kept = math.inf, {name: value.clone() for name, value in base.state_dict().items()}
    for epoch in range(config.epochs):
        base.train()
        order = torch.randperm(len(train))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            rate = min(1.0, (done + 1) / WARM_UP) * (1 + math.cos(math.pi * done / steps)) / 2
            optimiser.param_groups[0]["lr"] = config.learning_rate * rate
            _step(base, optimiser, train.take(batch), liked[batch].float(), config.decay)
            done += 1
        base.eval()
        logits = head.base_logits(valid).double()
        loss = float(functional.binary_cross_entropy_with_logits(logits, valid_liked))
        if not math.isfinite(loss):
            raise RunError(
                f"the engagement head's loss is {loss} after epoch {epoch + 1}; "
                f"lower engagement.learning_rate={config.learning_rate}"
            )
        if loss < best:
            best, kept = loss, {name: value.clone() for name, value in base.state_dict().items()}
    base.load_state_dict(kept)


def _step(base: Base, optimiser: torch.optim.Optimizer, known: Known, liked: Tensor, decay: float) -> None:
    logits = base(known)
    loss = functional.binary_cross_entropy_with_logits(logits, liked.expand_as(logits)) + decay * base.weight
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


def _out_of_fold(head: EngagementHead, inputs: Tensor, liked: Tensor, users: np.ndarray) -> Float64[np.ndarray, " n"]:
    """Return each valid exposure's probability by a last layer that has not seen its user, [n]."""
    fold = torch.from_numpy(_fold(users))
    out = torch.empty(len(inputs), dtype=torch.float64)
    for number in range(FOLDS):
        here = fold == number
        head.fit_last(inputs[~here], liked[~here])
        out[here] = head.last(inputs[here])
    return out.numpy()
