import json
import re
from pathlib import Path

import pytest
import torch

from towers.models import HISTORIES, RecencyHistory, describe_model, load_towers, open_run, read_model, save_towers
from towers.models.storage import MODEL, WEIGHTS
from towers.types import Geometry, RunError

from .conftest import Make


@pytest.mark.parametrize("kind", list(HISTORIES))
@pytest.mark.parametrize("geometry", list(Geometry))
def test_towers_come_back_as_they_were(kind: str, geometry: Geometry, make: Make, tmp_path: Path) -> None:
    towers = make(kind, geometry)
    save_towers(towers, tmp_path / "towers")
    for mapped in (False, True):
        again = load_towers(tmp_path / "towers", mapped)
        assert again.config == towers.config
        assert again.encoders == towers.encoders
        assert not again.training
        for (name, one), (_, two) in zip(towers.state_dict().items(), again.state_dict().items(), strict=True):
            assert torch.equal(one, two), name


def test_a_config_says_its_kind(make: Make) -> None:
    plain = describe_model(make().config)
    assert plain["history"] == {"kind": "recency", "heads": 4}
    assert read_model(json.loads(json.dumps(plain))).history == RecencyHistory(heads=4)


def test_an_unknown_history_encoder_is_named() -> None:
    message = f"history encoder 'lstm' is unknown here; this version has {sorted(HISTORIES)}"
    with pytest.raises(RunError, match=re.escape(message)):
        read_model({"history": {"kind": "lstm"}})


def test_a_missing_file_is_named(make: Make, tmp_path: Path) -> None:
    save_towers(make(), tmp_path / "towers")
    (tmp_path / "towers" / WEIGHTS).unlink()
    with pytest.raises(RunError, match=r"holds no towers: weights\.pt is missing; train again or name another folder"):
        load_towers(tmp_path / "towers")


def test_weights_of_other_towers_are_refused(make: Make, tmp_path: Path) -> None:
    save_towers(make(), tmp_path / "towers")
    page = tmp_path / "towers" / MODEL
    page.write_text(page.read_text().replace('"dim": 8', '"dim": 9'))
    with pytest.raises(
        RunError, match=r"weights\.pt does not fit model\.json beside it: .*size mismatch.*; train again"
    ):
        load_towers(tmp_path / "towers")


def test_a_folder_that_is_no_run_is_told_apart_from_an_unfinished_one(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no training run; give the folder that `towers train run=FOLDER` wrote"):
        open_run(tmp_path)
    (tmp_path / "events.parquet").touch()
    with pytest.raises(RunError, match="is a dataset, not a run; give the folder"):
        open_run(tmp_path)
    (tmp_path / "config.json").touch()
    with pytest.raises(
        RunError, match=r"has not finished: run\.json is missing; `towers train run=.* …` goes on with it"
    ):
        open_run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json is not JSON .*; train again"):
        open_run(tmp_path)
