"""Figures of probabilities: against plain counting, and what must hold of any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.metrics import BINARY, Judgement, best_threshold
from towers.types import DataError

outcomes = st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({liked for _, liked in rows}) == 2
)


def arrays(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    chance, liked = zip(*rows, strict=True)
    return np.array(chance) / 10, np.array(liked)


@given(outcomes)
def test_auc_counts_pairs_and_ties_half(rows: list[tuple[int, bool]]) -> None:
    chance, liked = arrays(rows)
    won = np.sign(chance[liked][:, None] - chance[~liked])
    assert Judgement.of(chance, liked).figures()["auc"] == pytest.approx(np.mean((won + 1) / 2))


@given(outcomes)
def test_auc_is_unmoved_by_an_increasing_change(rows: list[tuple[int, bool]]) -> None:
    chance, liked = arrays(rows)
    changed = Judgement.of(chance**3, liked).figures()["auc"]
    assert changed == pytest.approx(Judgement.of(chance, liked).figures()["auc"])


@given(outcomes, st.data())
def test_an_outcome_that_counts_twice_is_as_one_that_is_there_twice(
    rows: list[tuple[int, bool]], data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(1, 3), min_size=len(rows), max_size=len(rows)))
    chance, liked = arrays(rows)
    weighed = Judgement.of(chance, liked, 0.5).figures(np.array(times, float))
    repeated = Judgement.of(np.repeat(chance, times), np.repeat(liked, times), 0.5).figures()
    for name in set(BINARY) - {"calibration_error"}:  # its groups hold equally many lines
        assert weighed[name] == pytest.approx(repeated[name])


@given(outcomes)
def test_no_threshold_has_a_better_f1_than_the_best(rows: list[tuple[int, bool]]) -> None:
    chance, liked = arrays(rows)
    best = Judgement.of(chance, liked, best_threshold(chance, liked)).figures()["f1"]
    assert best >= max(Judgement.of(chance, liked, there).figures()["f1"] for there in chance) - 1e-12


def test_by_hand() -> None:
    # said from .5 on: .9 (liked), .6 (not); three are liked
    judged = Judgement.of(np.array([0.9, 0.6, 0.4, 0.3, 0.1]), np.array([True, False, True, True, False]), 0.5)
    found = judged.figures()
    assert found["precision"] == 1 / 2
    assert found["recall"] == 1 / 3
    assert found["f1"] == pytest.approx(0.4)
    assert found["log_loss"] == pytest.approx(-np.mean(np.log([0.9, 0.4, 0.4, 0.3, 0.9])))


def test_honest_probabilities_are_calibrated_and_doubled_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    chance = rng.uniform(0, 0.5, 20_000)
    liked = rng.random(20_000) < chance
    assert Judgement.of(chance, liked).figures()["calibration_error"] < 0.02
    assert Judgement.of(2 * chance, liked).figures()["calibration_error"] == pytest.approx(0.25, abs=0.01)


def test_all_said_alike_is_chance_and_never_said_is_no_precision() -> None:
    judged = Judgement.of(np.full(10, 0.3), np.arange(10) < 4, 0.5).figures()
    assert judged["auc"] == 0.5
    assert (judged["precision"], judged["recall"], judged["f1"]) == (0, 0, 0)


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(DataError, match=r"the probability of exposure 1 is nan; expected from 0 to 1"):
        Judgement.of(np.array([0.1, np.nan]), np.array([True, False]))
    with pytest.raises(DataError, match=r"3 of 3 exposures are positives, so there is nothing to tell apart"):
        Judgement.of(np.full(3, 0.5), np.ones(3, bool))
