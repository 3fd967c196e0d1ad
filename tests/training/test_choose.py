from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.worlds import Event, write_world
from towers.data import Dataset, Split
from towers.features import Catalogue, Mixed, Sampler, Uniform
from towers.losses import Contrastive, Gbce, Softmax
from towers.models import AutoHistory, GatedHistory, MeanHistory, ModelConfig, PopularityTerm, RecencyHistory
from towers.training.choose import Facts, settle
from towers.training.config import OptimConfig, TrainConfig
from towers.types import DAY_MS, ConfigError, Geometry

OPEN = TrainConfig(dataset="d", run="r", model=ModelConfig(history=AutoHistory()), loss=Softmax(), sampler=Mixed())


@pytest.mark.parametrize(
    ("facts", "window", "kind", "dim", "epochs", "count"),
    [
        (Facts(events=425_000, videos=7_583, long=41, timed=True, days=6.0), 50, RecencyHistory, 128, 6, 758),
        (Facts(events=987_529, videos=3_416, long=390, timed=False), 200, GatedHistory, 128, 18, 512),
        (Facts(events=9_000, videos=800, long=3, timed=True), 20, RecencyHistory, 64, 20, 512),
        (Facts(events=50_000_000, videos=2_000_000, long=30, timed=True), 30, RecencyHistory, 64, 6, 4096),
    ],
    ids=["a short-video log", "long histories", "a small log", "a large catalogue"],
)
def test_facts_settle_what_is_open(facts: Facts, window: int, kind: type, dim: int, epochs: int, count: int) -> None:
    config, lines = settle(OPEN, facts)
    assert (config.model.window, config.model.dim, config.optim.epochs) == (window, dim, epochs)
    assert type(config.model.history) is kind
    assert config.model.popularity is (PopularityTerm.recent if facts.timed else PopularityTerm.total)
    assert config.half_life_days == facts.days / 2
    assert config.sampler == Mixed(count=count)
    names = [
        *("model.window", "model/history", "model.dim", "model.popularity", "model.id_dropout"),
        *("model.temperature", "half_life_days"),
        *("optim.epochs", "sampler.count"),
    ]
    assert [line.partition("=")[0] for line in lines] == names


def test_a_loss_about_cosines_is_given_nothing_else() -> None:
    facts = Facts(events=10, videos=10, long=10, timed=True)
    config, lines = settle(replace(OPEN, loss=Contrastive()), facts)
    assert config.model.popularity is PopularityTerm.none
    assert "model.popularity=none: the loss is about cosines" in lines
    assert not [line for line in lines if "temperature" in line]
    for options, message in (
        ({"geometry": Geometry.dot}, r"model\.geometry is dot; expected cosine, since this loss is about cosines"),
        ({"popularity": PopularityTerm.recent}, r"model\.popularity is recent; expected none, since this loss is"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(OPEN, loss=Contrastive(), model=replace(OPEN.model, **options))


def test_what_was_asked_for_stays() -> None:
    asked = replace(
        OPEN,
        model=ModelConfig(
            history=MeanHistory(),
            dim=5,
            window=7,
            popularity=PopularityTerm.none,
            id_dropout=0.2,
            id_min_count=1,
            temperature=0.07,
        ),
        sampler=Mixed(count=9),
        optim=OptimConfig(epochs=3),
        half_life_days=0.0,
    )
    assert settle(asked, Facts(events=10, videos=10, long=10, timed=True)) == (asked, [])


@pytest.mark.parametrize(
    ("features", "described", "told_apart", "each", "share", "least", "said"),
    [
        (True, True, False, 14.9, 0.1, 1, ["model.id_dropout=0.1: videos have features"]),
        (True, True, True, 15.0, 0.1, 1, ["model.id_dropout=0.1: videos have features"]),
        (
            *(True, True, True, 14.9, 0.3, 3),
            [
                "model.id_min_count=3: videos have features, and watched ones 14.9 positive events each",
                "model.id_dropout=0.3: videos have features, and watched ones 14.9 positive events each",
            ],
        ),
        (True, False, False, 1.0, 0.0, 1, ["model.id_dropout=0: videos have no features, so ids are all there is"]),
        (False, True, True, 1.0, 0.0, 1, ["model.id_dropout=0: features are not read"]),
    ],
)
def test_ids_are_left_out_where_features_can_carry_a_video(
    features: bool, described: bool, told_apart: bool, each: float, share: float, least: int, said: list[str]
) -> None:
    facts = Facts(events=10, videos=10, long=10, timed=True, described=described, told_apart=told_apart, each=each)
    config, lines = settle(replace(OPEN, model=replace(OPEN.model, features=features)), facts)
    assert (config.model.id_dropout, config.model.id_min_count) == (share, least)
    assert [line for line in lines if line.startswith("model.id_")] == said


@pytest.mark.parametrize(("each", "temperature"), [(15.0, 0.1), (14.9, 0.15)])
def test_a_thin_log_is_read_less_closely(each: float, temperature: float) -> None:
    config, lines = settle(OPEN, Facts(events=10, videos=10, long=10, timed=True, each=each))
    assert config.model.temperature == temperature
    assert f"model.temperature={temperature}: watched videos have {each} positive events each" in lines


def test_one_choice_about_ids_leaves_the_other_open() -> None:
    thin = Facts(events=10, videos=10, long=10, timed=True, each=2.0)
    config, _ = settle(replace(OPEN, model=replace(OPEN.model, id_dropout=0.0)), thin)
    assert (config.model.id_dropout, config.model.id_min_count) == (0.0, 3)
    config, _ = settle(replace(OPEN, model=replace(OPEN.model, id_min_count=1)), thin)
    assert (config.model.id_dropout, config.model.id_min_count) == (0.3, 1)


def test_facts_are_those_of_the_train_split(tiny_dataset: Dataset) -> None:
    counts = tiny_dataset.positives(Split.train).counts()
    facts = Facts.of(tiny_dataset)
    assert facts.events == counts.sum()
    assert not facts.timed  # all within a day
    assert facts.videos == len(tiny_dataset.video_table())
    assert facts.described
    assert facts.told_apart
    rows = tiny_dataset.positives(Split.train).video_row
    assert facts.each == len(rows) / len(set(rows.tolist()))
    assert (counts[counts > 0] <= facts.long).mean() >= 0.85
    assert facts.long == int(np.quantile(counts[counts > 0], 0.9))


@pytest.mark.parametrize(("valid_day", "days"), [(9, 8.0), (8, 0.0)], ids=["valid is later", "valid is among train"])
def test_days_are_spanned_where_valid_comes_later(tmp_path: Path, valid_day: int, days: float) -> None:
    times = [("a", 1), ("a", 9), ("b", 3)]
    events: list[Event] = [(user, f"v{day:02}", "train", day * DAY_MS) for user, day in times]
    dataset = write_world(
        tmp_path / "d", [*events, ("b", "v00", "valid", valid_day * DAY_MS), ("b", "v11", "test")], 12
    )
    assert Facts.of(dataset).days == days


def test_a_clock_that_is_wrong_does_not_make_a_log_older(tmp_path: Path) -> None:
    days = [20_000 + number / 10 for number in range(100)]
    events: list[Event] = [(f"u{day:.1f}", "v1", "train", round(day * DAY_MS)) for day in days]
    later: Event = ("u20000.0", "v2", "valid", 20_010 * DAY_MS)
    wrong: list[Event] = [("u0", "v1", "train", 0), ("u1", "v1", "train", 90_000 * DAY_MS)]
    asked = [write_world(tmp_path / name, [*events, *more, later], 3) for name, more in (("d", []), ("w", wrong))]
    assert [Facts.of(dataset).days for dataset in asked] == [pytest.approx(9.9), pytest.approx(9.9)]


@pytest.mark.parametrize("name", ["half_life_days", "model.id_expiry_days"])
def test_times_that_are_not_there_are_not_asked_for(name: str) -> None:
    undated = Facts(events=10, videos=10, long=10, timed=False, dated=False)
    asked = replace(OPEN, half_life_days=2.0)
    if name != "half_life_days":
        asked = replace(OPEN, model=replace(OPEN.model, id_expiry_days=2.0))
    with pytest.raises(ConfigError, match=rf"{name} is 2\.0, but no training event has a time; set {name}=0"):
        settle(asked, undated)


@pytest.mark.parametrize("timed", [True, False])
def test_where_nothing_is_trained_popularity_is_always_a_term(timed: bool) -> None:
    facts = Facts(events=10, videos=10, long=10, timed=timed)
    config, lines = settle(replace(OPEN, closed_form=True, loss=Contrastive()), facts)
    wanted = PopularityTerm.recent if timed else PopularityTerm.total
    assert (config.model.popularity, config.half_life_days, config.optim.epochs) == (wanted, 0.0, 0)
    assert f"model.popularity={wanted.name}: events have {'their' if timed else 'no'} times" in lines


def test_events_in_another_order_have_no_times_by_which_popularity_could_be_recent() -> None:
    facts = Facts(events=10, videos=10, long=10, timed=True, days=6.0)
    config, lines = settle(replace(OPEN, shuffle=True), facts)
    assert config.model.popularity is PopularityTerm.total
    assert "model.popularity=total: shuffle=true" in lines
    assert config.half_life_days == 0
    assert "half_life_days=0: shuffle=true" in lines
    with pytest.raises(ConfigError, match=r"popularity is recent and shuffle is true, .* set model\.popularity=total"):
        replace(OPEN, shuffle=True, model=replace(OPEN.model, popularity=PopularityTerm.recent))


@pytest.mark.parametrize(("sampler", "told"), [(Mixed(), True), (Uniform(), False), (Catalogue(), False)])
def test_a_loss_that_takes_candidates_to_be_drawn_evenly_says_so(sampler: Sampler, told: bool) -> None:
    facts = Facts(events=10, videos=10, long=10, timed=True)
    line = "sampler=mixed: as given; this loss takes candidates to be drawn evenly, as sampler=uniform draws them"
    assert (line in settle(replace(OPEN, loss=Gbce(), sampler=sampler), facts)[1]) is told
    assert line not in settle(replace(OPEN, sampler=sampler), facts)[1]
