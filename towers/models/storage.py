"""Towers on disk: weights that load without running code, and a JSON page that says what they are."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn
from torch.overrides import TorchFunctionMode

from towers.data import Encoders, atomic_folder, write_json
from towers.models.arrays import ENCODERS, MODEL, WEIGHTS, TowerArrays, check_files, read_weights
from towers.models.config import ModelConfig, PopularityTerm
from towers.models.history import HISTORIES, kind_of
from towers.models.two_tower import TwoTower
from towers.types import Geometry, RunError

_BEFORE = "weights.pt"
"""Where runs of before 28 November 2026 have their weights, in torch's own format."""


def describe_model(config: ModelConfig) -> dict[str, Any]:
    """Return a config as plain values; a variant says its `kind`.

    Example:
        >>> from towers.models import MeanHistory
        >>> describe_model(ModelConfig(history=MeanHistory()))["history"]
        {'kind': 'mean'}
    """
    plain, kind = dataclasses.asdict(config), kind_of(config.history)
    words = {"geometry": config.geometry.name, "popularity": config.popularity.name}
    return plain | words | {"history": {"kind": kind, **plain["history"]}}


def read_model(plain: dict[str, Any]) -> ModelConfig:
    """Return the config that :func:`describe_model` wrote.

    Raises:
        RunError: A history encoder that this version does not know.
    """
    history = dict(plain["history"])
    kind = history.pop("kind")
    if kind not in HISTORIES:
        raise RunError(f"history encoder {kind!r} is unknown here; this version has {sorted(HISTORIES)}")
    words = {"geometry": Geometry[plain["geometry"]], "popularity": PopularityTerm[plain.get("popularity", "none")]}
    rest = plain | words | {"history": HISTORIES[kind](**history)}
    return ModelConfig(**rest)


def arrays_of(towers: TwoTower) -> TowerArrays:
    """Return towers as arrays, which share the memory of weights on the CPU."""
    counts = {"rows": len(towers.known)}
    if towers.user_ids is not None:
        counts["user_rows"] = len(towers.known_users)
    weights = {name: value.detach().cpu().numpy() for name, value in towers.state_dict().items()}
    return TowerArrays(describe_model(towers.config) | counts, towers.encoders, weights)


def save_towers(towers: TwoTower, folder: str | Path) -> None:
    """Write towers to a new folder, or replace the towers there, all or nothing."""
    arrays = arrays_of(towers)
    with atomic_folder(Path(folder)) as partial:
        write_json(partial / ENCODERS, towers.encoders.to_json())
        save_file({name: np.asarray(each, order="C") for name, each in arrays.weights.items()}, partial / WEIGHTS)
        shutil.copymode(partial / ENCODERS, partial / WEIGHTS)  # safetensors lets nobody else read what it writes
        write_json(partial / MODEL, dict(arrays.model))


def load_towers(folder: str | Path, mapped: bool = False) -> TwoTower:
    """Return the towers of a folder, on the CPU and ready to serve.

    Args:
        folder: As `save_towers` wrote it.
        mapped: Whether weights stay on disk until they are used; for files that nobody writes again.

    Raises:
        RunError: A file is missing or does not fit the others.
    """
    folder = Path(folder)
    path = weights_in(folder)
    check_files(folder, path.name)
    plain = json.loads((folder / MODEL).read_text())
    encoders = Encoders.from_json(json.loads((folder / ENCODERS).read_text()))
    known, met = (torch.zeros(rows, dtype=torch.bool) for rows in (plain.pop("rows"), plain.pop("user_rows", 0)))
    with _Unset():
        towers = TwoTower(read_model(plain), encoders, known, met)
    try:
        towers.load_state_dict(_read(path, mapped), assign=mapped)
    except (RuntimeError, EOFError, ValueError) as error:
        reason = " ".join(str(error).splitlines()[:2])
        raise RunError(f"{path} does not fit {MODEL} beside it: {reason}; train again") from error
    return towers.eval()


def weights_in(folder: Path) -> Path:
    """Return where a folder of towers has its weights."""
    before = folder / _BEFORE
    return before if before.is_file() else folder / WEIGHTS


def _read(path: Path, mapped: bool) -> dict[str, torch.Tensor]:
    if path.name == _BEFORE:
        read: dict[str, torch.Tensor] = torch.load(path, weights_only=True, map_location="cpu", mmap=mapped)
        return read
    return {name: torch.from_numpy(each) for name, each in read_weights(path).items()}


class _Unset(TorchFunctionMode):
    """Leaves weights as they are found in memory, where they would begin at random and be loaded afterwards."""

    def __torch_function__(
        self,
        function: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        """Run anything but what fills a table with random numbers, 1 s for a million videos."""
        kwargs = kwargs or {}
        return kwargs["tensor"] if function is nn.init.normal_ else function(*args, **kwargs)
