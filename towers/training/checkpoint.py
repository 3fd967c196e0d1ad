"""Checkpoints that are whole or not there, whatever happens to the process."""

import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO

from towers.types import RunError


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the target, forces it to the disk, then renames.

    Lightning's own writer moves a file from the system's temporary folder, which is a copy where
    that lies on another file system; killed in the middle, it leaves half a checkpoint.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: object = None
    ) -> None:
        """Write a checkpoint, all or nothing."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(target.name + ".partial")
        with partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)


class KeptCheckpoints(ModelCheckpoint):
    """Remembers its best epoch also where the run's folder was moved: Lightning's own then begins anew."""

    @property
    def state_key(self) -> str:
        """Lightning's name of what it remembers, by which runs of before find theirs."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was kept, under the folder of now."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {name: here(state_dict[name]) for name in state_dict if name.endswith("_model_path")}
        best = {here(path): value for path, value in state_dict["best_k_models"].items()}
        super().load_state_dict(state_dict | paths | {"dirpath": self.dirpath, "best_k_models": best})


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a checkpoint of ours holds.

    Raises:
        RunError: It cannot be read.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:
        raise RunError(f"{path} cannot be read ({error}); delete {path.parent} to begin that stage anew") from error
    return loaded
