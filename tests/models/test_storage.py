import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from towers.models import (
    HISTORIES,
    RecencyHistory,
    arrays_of,
    describe_model,
    load_towers,
    open_run,
    read_model,
    save_towers,
)
from towers.models.arrays import MODEL, WEIGHTS, TowerArrays, read_weights
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
    arrays, read = arrays_of(towers), TowerArrays.load(tmp_path / "towers")
    assert read.encoders == towers.encoders
    assert read.model == json.loads(json.dumps(arrays.model))
    assert read.weights.keys() == arrays.weights.keys() == towers.state_dict().keys()
    for name, each in arrays.weights.items():
        assert (read.weights[name].dtype, read.weights[name].shape) == (each.dtype, each.shape), name
        np.testing.assert_array_equal(read.weights[name], each, name)


def test_any_program_reads_the_weights(make: Make, tmp_path: Path) -> None:
    towers = make()
    save_towers(towers, tmp_path / "towers")
    modes = {path.stat().st_mode for path in (tmp_path / "towers").iterdir()}
    assert len(modes) == 1
    read = load_file(tmp_path / "towers" / WEIGHTS)
    assert all(torch.equal(read[name], each) for name, each in towers.state_dict().items())


def test_to_write_into_mapped_weights_changes_no_file(make: Make, tmp_path: Path) -> None:
    save_towers(make(), tmp_path / "towers")
    before = (tmp_path / "towers" / WEIGHTS).read_bytes()
    TowerArrays.load(tmp_path / "towers").weights["start"][:] = 7
    with torch.no_grad():
        load_towers(tmp_path / "towers", mapped=True).ids.weight.zero_()
    assert (tmp_path / "towers" / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("left", [0, 5, 60, -1])
def test_weights_that_are_cut_short_are_told(left: int, make: Make, tmp_path: Path) -> None:
    save_towers(make(), tmp_path / "towers")
    path = tmp_path / "towers" / WEIGHTS
    path.write_bytes(path.read_bytes()[:left])
    for load in (load_towers, TowerArrays.load):
        with pytest.raises(
            RunError, match=r"weights\.safetensors cannot be read as weights \(.*\); it is cut short, damaged, or of"
        ):
            load(tmp_path / "towers")


@pytest.mark.parametrize(
    "header",
    [
        [],
        "weights",
        {"start": None},
        {"start": [1]},
        {"start": {"dtype": "F32", "shape": [8]}},
        {"start": {"dtype": "F32", "shape": [8], "data_offsets": [0, 31]}},
        {"start": {"dtype": "F32", "shape": [8], "data_offsets": [-32, 0]}},
        {"start": {"dtype": "F32", "shape": [-8], "data_offsets": [0, 32]}},
        {"start": {"dtype": "F32", "shape": "8", "data_offsets": [0, 32]}},
        {"start": {"dtype": "F32", "shape": [8], "data_offsets": ["0", "32"]}},
        {"start": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]}},
        {"start": {"dtype": ["F32"], "shape": [8], "data_offsets": [0, 32]}},
        {"start": {"dtype": "BF16", "shape": [16], "data_offsets": [0, 32]}},
    ],
)
def test_headers_that_tell_of_what_is_not_there_are_refused(header: object, tmp_path: Path) -> None:
    told, path = json.dumps(header).encode(), tmp_path / WEIGHTS
    path.write_bytes(len(told).to_bytes(8, "little") + told + bytes(32))
    with pytest.raises(
        RunError, match=r"weights\.safetensors cannot be read as weights \(.*\); it is cut short, damaged"
    ):
        read_weights(path)


@pytest.mark.parametrize(
    ("kind", "told", "message"),
    [
        ("recency", ('"dim": 8', '"dim": 16'), r"start is of shape \(8,\)"),
        ("gated", ('"window": 5', '"window": 50'), r"window is 50 there"),
        ("recency", ('"window": 5', '"window": 50'), r"window is 50 there"),
        ("mean", ('"rows": 30', '"rows": 31'), r"known is of shape \(30,\)"),
    ],
)
def test_arrays_of_other_towers_are_refused(
    kind: str, told: tuple[str, str], message: str, make: Make, tmp_path: Path
) -> None:
    save_towers(make(kind), tmp_path / "towers")
    page = tmp_path / "towers" / MODEL
    assert told[0] in page.read_text()
    page.write_text(page.read_text().replace(*told))
    with pytest.raises(
        RunError, match=rf"weights\.safetensors does not fit model\.json beside it: {message}; train again"
    ):
        TowerArrays.load(tmp_path / "towers")


def test_runs_of_before_say_their_weights_in_torch_s_format(make: Make, tmp_path: Path) -> None:
    towers = make()
    save_towers(towers, tmp_path / "towers")
    (tmp_path / "towers" / WEIGHTS).unlink()
    torch.save(towers.state_dict(), tmp_path / "towers" / "weights.pt")
    for mapped in (False, True):
        again = load_towers(tmp_path / "towers", mapped).state_dict()
        assert all(torch.equal(again[name], each) for name, each in towers.state_dict().items())


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
    with pytest.raises(
        RunError, match=r"holds no towers: weights\.safetensors is missing; train again or name another folder"
    ):
        load_towers(tmp_path / "towers")


def test_weights_of_other_towers_are_refused(make: Make, tmp_path: Path) -> None:
    save_towers(make(), tmp_path / "towers")
    page = tmp_path / "towers" / MODEL
    page.write_text(page.read_text().replace('"dim": 8', '"dim": 9'))
    with pytest.raises(
        RunError, match=r"weights\.safetensors does not fit model\.json beside it: .*size mismatch.*; train again"
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
