"""Checkpoints whose folder was moved."""

from pathlib import Path

import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from towers.training.checkpoint import KeptCheckpoints


def kept(folder: Path) -> KeptCheckpoints:
    return KeptCheckpoints(folder, filename="best", monitor="valid/hit@10", mode="max", enable_version_counter=False)


def test_the_best_epoch_is_known_in_another_folder_too(tmp_path: Path) -> None:
    before = kept(tmp_path / "before")
    best = str(tmp_path / "before" / "best.ckpt")
    before.best_model_path, before.kth_best_model_path, before.best_k_models = best, best, {best: torch.tensor(0.5)}
    before.best_model_score = before.kth_value = torch.tensor(0.5)
    moved = kept(tmp_path / "after")
    moved.load_state_dict(before.state_dict())
    here = str(tmp_path / "after" / "best.ckpt")
    assert moved.best_k_models == {here: 0.5}
    assert (moved.best_model_path, moved.kth_best_model_path, moved.last_model_path) == (here, here, "")
    assert (moved.best_model_score, moved.kth_value) == (torch.tensor(0.5), torch.tensor(0.5))


def test_what_earlier_versions_kept_is_found(tmp_path: Path) -> None:
    before = ModelCheckpoint(tmp_path, filename="best", monitor="valid/hit@10", mode="max")
    assert kept(tmp_path).state_key == before.state_key
