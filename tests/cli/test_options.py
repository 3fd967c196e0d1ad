import pytest

from towers.cli.options import nearest

NAMES = [
    "dataset",
    "run",
    "model.dim",
    "model.temperature",
    "model.learn_temperature",
    "optim.learning_rate",
    "optim.weight_decay",
    "optim.epochs",
    "optim.patience",
    "optim.clip",
    "refit_epochs",
    "model.history.heads",
    "loss.rate",
    "model/history",
    "data.users",
    "data.columns.user_id",
]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("optim.lr", "optim.learning_rate"),
        ("lr", "optim.learning_rate"),
        ("model.lr", "optim.learning_rate"),
        ("optimizer.lr", "optim.learning_rate"),
        ("optim.learn_rate", "optim.learning_rate"),
        ("optim.learing_rate", "optim.learning_rate"),
        ("optm.clip", "optim.clip"),
        ("wd", "optim.weight_decay"),
        ("epoch", "optim.epochs"),
        ("num_epochs", "optim.epochs"),
        ("temp", "model.temperature"),
        ("model.histor", "model/history"),
        ("model.history.head", "model.history.heads"),
        ("data.columns.uid", "data.columns.user_id"),
        ("data.columns.user", "data.columns.user_id"),
        ("data.user", "data.users"),
    ],
)
def test_short_and_misspelt_options_are_told_what_they_may_mean(typed: str, meant: str) -> None:
    assert nearest(typed, NAMES) == f"; did you mean {meant!r}?"


@pytest.mark.parametrize("typed", ["", "optim.", "x", "7", "lrs", "optim.batch", "loss.uniform", "loss.ahead"])
def test_what_looks_like_nothing_is_told_nothing(typed: str) -> None:
    assert nearest(typed, NAMES) == ""


def test_a_verb_can_be_shortened_too() -> None:
    assert nearest("eval", ["train", "evaluate"]) == "; did you mean 'evaluate'?"
