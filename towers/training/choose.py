"""What is left open is settled by the data's own facts."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from towers.data import TIME_UNKNOWN, Dataset, Kind, Split
from towers.features import SAMPLERS, Sampler, Uniform, tells_days
from towers.models import AutoHistory, GatedHistory, MeanHistory, ModelConfig, PopularityTerm
from towers.models.history import kind_of
from towers.training.config import OptimConfig, TrainConfig
from towers.types import DAY_MS, ConfigError

SHORTEST, LONGEST = 20, 200
"""Windows that are chosen; a longer one costs attention its square and reads what hardly matters."""
MANY_EVENTS, MANY_VIDEOS = 200_000, 1_000_000
"""Events that fill vectors of 128, and videos from which on a table of them is too large to do so by default."""
SHARE_OF_SPAN = 0.5
"""Half-life of an event as a share of the log's days: on KuaiRand, where 93 of 100 positives have no time
and count like the oldest that has one, a half beat a quarter, the whole and none."""
FEW = 0.05
"""Share of events whose times may lie across the cut: logs are cut by dates that do not always tell the moment."""
THIN = 15
"""Positives of a video that has any, on average, below which its features have to carry more of it, and scores may be
less sure: samples of KuaiRand's users with 3.8 to 11 gained by it, all of it, with 61, nothing; Gowalla's 16 lost."""
FEWEST, MOST = 6, 20
"""Epochs that are chosen at least and at most; on KuaiRand valid is best after the sixth or seventh of eight."""
ENOUGH = 2_000_000
"""Events to go through, for weights by distance, before the valid figure stands still: on three public logs."""


@dataclass(frozen=True)
class Facts:
    """What is decided by.

    Attributes:
        events: Positives to learn from.
        videos: Videos of the catalogue.
        long: Positives of a user of whom nine in ten have no more.
        timed: Whether it is known when they happened, over more than a day.
        days: From the first to the last that has a time, where valid happened later; else 0.
        dated: Whether any event has a time.
        described: Whether videos have features.
        told_apart: Whether any of these is more than a number: many videos share a duration.
        each: Positives of a video that has any, on average.
    """

    events: int
    videos: int
    long: int
    timed: bool
    days: float = 0.0
    dated: bool = True
    described: bool = True
    told_apart: bool = True
    each: float = 100.0

    @classmethod
    def of(cls, dataset: Dataset) -> "Facts":
        """Return the facts of a dataset's train split."""
        positives = dataset.positives(Split.train)
        counts = positives.counts()
        long, timed = int(np.quantile(counts[counts > 0], 0.9)), tells_days(positives.time_ms)
        days = _days(positives.time_ms, dataset.positives(Split.valid).time_ms) if timed else 0.0
        dated = bool((positives.time_ms != TIME_UNKNOWN).any())
        return cls(
            events=int(counts.sum()),
            videos=len(dataset.videos) - 2,
            long=long,
            timed=timed,
            days=days,
            dated=dated,
            described=bool(dataset.encoders.videos),
            told_apart=any(encoder.kind is not Kind.numeric for encoder in dataset.encoders.videos),
            each=len(positives.video_row) / max(1, len(np.unique(positives.video_row))),
        )


def _days(train_ms: Int64[np.ndarray, " n"], valid_ms: Int64[np.ndarray, " m"]) -> float:
    known, later = train_ms[train_ms != TIME_UNKNOWN], valid_ms[valid_ms != TIME_UNKNOWN]
    if not len(later) or np.quantile(later, FEW) < np.quantile(known, 1 - FEW):
        return 0.0
    # A few clocks that are wrong, or times that are missing and written as 0, do not make a log older.
    low, high = np.quantile(known, [FEW, 1 - FEW])
    return float(np.ptp(known[(known >= 2 * low - high) & (known <= 2 * high - low)])) / DAY_MS


def settle(config: TrainConfig, facts: Facts) -> tuple[TrainConfig, list[str]]:
    """Return the config with nothing left open, and a line for each thing that was chosen, or should be.

    Args:
        config: As asked; a 0 in model.window, model.dim, optim.epochs or sampler.count, None and auto elsewhere, are
            open.
        facts: Of the data.

    Raises:
        ConfigError: An option asks for times that the data do not have.

    Example:
        >>> from towers.features import Mixed
        >>> from towers.losses import Softmax
        >>> from towers.models import ModelConfig
        >>> open_config = TrainConfig(
        ...     dataset="d", run="r", model=ModelConfig(history=AutoHistory()), loss=Softmax(), sampler=Mixed()
        ... )
        >>> config, lines = settle(open_config, Facts(events=425_000, videos=7_583, long=41, timed=True, days=6.0))
        >>> config.model.window, config.model.dim, config.optim.epochs
        (50, 128, 6)
        >>> print(lines[0])
        model.window=50: nine in ten users have at most 41 positive events
    """
    _refuse_times_that_are_not_there(config, facts)
    model, lines = config.model, list[str]()
    for step in (_with_window, _with_history, _with_dim, _with_popularity, _with_ids, _with_temperature):
        model, line = step(model, config, facts)
        lines += line
    if config.closed_form:
        return replace(config, model=model, half_life_days=0.0), lines
    half_life = config.half_life_days
    if half_life is None:
        half_life, reason = _half_life(facts) if not config.shuffle else (0.0, "half_life_days=0: shuffle=true")
        lines.append(reason)
    optim, line = _with_epochs(config.optim, model, facts)
    sampler, more = _with_count(config.sampler, facts)
    if not config.loss.corrected and not sampler.even:
        kind = next(name for name, each in SAMPLERS.items() if each is type(sampler))
        reason = "this loss takes candidates to be drawn evenly, as sampler=uniform draws them"
        more.append(f"sampler={kind}: as given; {reason}")
    return replace(config, model=model, sampler=sampler, optim=optim, half_life_days=half_life), [*lines, *line, *more]


Choice = tuple[ModelConfig, list[str]]
"""A model with one more thing settled, and a line that says why; none where it was said or does not matter."""


def _with_window(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:  # noqa: ARG001 - all are called alike
    if model.window:
        return model, []
    window = min(LONGEST, max(SHORTEST, -(-facts.long // 10) * 10))
    line = f"model.window={window}: nine in ten users have at most {facts.long} positive events"
    return replace(model, window=window), [line]


def _with_history(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:  # noqa: ARG001
    if config.closed_form:
        if not isinstance(model.history, AutoHistory | MeanHistory):
            raise ConfigError(
                f"model/history is {kind_of(model.history)}, which has to be trained, and closed_form is true; "
                "expected model/history=mean, or closed_form=false"
            )
        line = "model/history=mean, model.features=false: closed_form is true, and nothing is trained"
        return replace(model, history=MeanHistory(), features=False), [line]
    if not isinstance(model.history, AutoHistory):
        return model, []
    model = replace(model, history=model.history.choice(model.window))
    return model, [f"model/history={kind_of(model.history)}: it suits windows of {model.window}"]


def _with_dim(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:  # noqa: ARG001
    if model.dim:
        return model, []
    dim = 128 if facts.events >= MANY_EVENTS and facts.videos <= MANY_VIDEOS else 64
    return replace(model, dim=dim), [f"model.dim={dim}: {facts.events:,} positive events of {facts.videos:,} videos"]


def _with_popularity(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:
    """Choose the term for popularity: nothing else learns it where nothing is trained."""
    if model.popularity is not PopularityTerm.auto:
        return model, []
    if not config.loss.tempered and not config.closed_form:
        term, reason = PopularityTerm.none, "the loss is about cosines"
    else:
        timed = facts.timed and not config.shuffle  # which takes the times away
        term = PopularityTerm.recent if timed else PopularityTerm.total
        reason = "shuffle=true" if config.shuffle else f"events have {'their' if timed else 'no'} times"
    return replace(model, popularity=term), [f"model.popularity={term.name}: {reason}"]


def _with_ids(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:
    """Choose which ids are left out."""
    reason = "videos have features" if facts.described else "videos have no features, so ids are all there is"
    if not model.features:
        reason = "features are not read"
    share, least, lines = 0.0, 1, list[str]()
    if model.features and facts.described:
        share = 0.1
        if facts.told_apart and facts.each < THIN:
            share, least = 0.3, 3
            reason += f", and watched ones {facts.each:.1f} positive events each"
    if model.id_min_count is None:
        model = replace(model, id_min_count=least)
        lines += [f"model.id_min_count={least}: {reason}"] if least > 1 else []
    if model.id_dropout is None:
        model = replace(model, id_dropout=share)
        lines += [] if config.closed_form else [f"model.id_dropout={share:g}: {reason}"]
    return model, lines


def _with_temperature(model: ModelConfig, config: TrainConfig, facts: Facts) -> Choice:
    if model.temperature is not None:
        return model, []
    model = replace(model, temperature=0.15 if facts.each < THIN else model.first_temperature)
    line = f"model.temperature={model.temperature:g}: watched videos have {facts.each:.1f} positive events each"
    return model, [] if config.closed_form or not config.loss.tempered else [line]


def _with_epochs(optim: OptimConfig, model: ModelConfig, facts: Facts) -> tuple[OptimConfig, list[str]]:
    """Choose how long to train."""
    if optim.epochs:
        return optim, []
    slow = 3 if isinstance(model.history, GatedHistory) else 1
    epochs = slow * min(MOST, max(FEWEST, round(ENOUGH / max(1, facts.events))))
    reason = f"fewer if valid stands still: there are {facts.events:,} positive events"
    return replace(optim, epochs=epochs), [f"optim.epochs={epochs}, {reason}"]


def _with_count(sampler: Sampler, facts: Facts) -> tuple[Sampler, list[str]]:
    """Choose how many candidates are drawn."""
    if not isinstance(sampler, Uniform) or sampler.count:
        return sampler, []
    count = sampler.among(facts.videos)
    return replace(sampler, count=count), [f"sampler.count={count}: there are {facts.videos:,} videos"]


def _half_life(facts: Facts) -> tuple[float, str]:
    """Return how fast events age, and why."""
    days = round(SHARE_OF_SPAN * facts.days, 1)
    reason = f"events that have times span {facts.days:.1f} days, and valid comes later"
    if not days:
        reason = "valid is no later" if facts.timed else "events have no times"
    return days, f"half_life_days={days:g}: {reason}"


def _refuse_times_that_are_not_there(config: TrainConfig, facts: Facts) -> None:
    asked = (("half_life_days", config.half_life_days), ("model.id_expiry_days", config.model.id_expiry_days))
    for name, value in asked:
        if value and not facts.dated:
            raise ConfigError(f"{name} is {value}, but no training event has a time; set {name}=0")
