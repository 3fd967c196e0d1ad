import sys

import pytest

from benchmarks import ablation
from towers.cli.compose import composed
from towers.cli.verbs import VERBS


@pytest.mark.parametrize(
    ("table", "change"), [(table, change) for table in ablation.RECIPES for change in ablation.changes_of(table)]
)
def test_every_change_is_something_that_train_can_be_told(table: str, change: str) -> None:
    words = ["dataset=d", "run=r", *ablation.RECIPES[table]]
    plain = composed(VERBS["train"], [*words, *ablation.BASE])
    changed = composed(VERBS["train"], [*words, *ablation.merged(ablation.CHANGES[change])])
    assert (plain == changed) == (change == "as it is")


def test_what_was_recorded_at_this_commit_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"recipe": "as it is", "protocol": "kuairand", "commit": "now"},
        {"recipe": "dim 32", "protocol": "kuairand", "commit": "before"},
        {"recipe": "dim 32", "protocol": "ml-1m", "commit": "now"},
    ]
    asked = []
    monkeypatch.setattr(ablation, "read", lambda _: rows)
    monkeypatch.setattr(ablation, "surroundings", lambda: {"commit": "now"})
    monkeypatch.setattr(ablation, "work_folder", lambda *_: "work")
    monkeypatch.setattr(ablation, "measure", lambda table, change, *_: asked.append((table, change)))
    monkeypatch.setattr(sys, "argv", ["ablation", "kuairand", "--only", "as it is", "dim 32"])
    ablation.main()
    assert asked == [("kuairand", "dim 32")]
