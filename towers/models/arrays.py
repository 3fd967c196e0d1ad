"""Towers as arrays: what a folder of towers holds, read without torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from towers.data import Encoder, Encoders
from towers.types import Geometry, RunError

MODEL, WEIGHTS, ENCODERS = "model.json", "weights.safetensors", "encoders.json"
_LENGTH = 8
"""Bytes that say how long the header is."""
_TYPES = {"F32": np.float32, "BOOL": np.bool_}
_LEANING = {"recent", "total"}


@dataclass(frozen=True)
class TowerArrays:
    """Towers as numpy and machine code read them.

    Attributes:
        model: What the towers were told, as :func:`towers.models.describe_model` gives it.
        encoders: Of the dataset's features.
        weights: By the names that torch has for them; mapped where they were read from a folder.
    """

    model: Mapping[str, Any]
    encoders: Encoders
    weights: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, folder: str | Path) -> "TowerArrays":
        """Return the towers of a folder that `save_towers` wrote; weights stay on disk until they are used.

        Raises:
            RunError: A file is missing, or the weights are cut short.
        """
        folder = Path(folder)
        check_files(folder)
        encoders = Encoders.from_json(json.loads((folder / ENCODERS).read_text()))
        towers = cls(json.loads((folder / MODEL).read_text()), encoders, read_weights(folder / WEIGHTS))
        towers._check(folder / WEIGHTS)
        return towers

    def _check(self, path: Path) -> None:
        """Check that some weights are of the sizes that the model says: those that a model.json of others would change.

        All of them only checksums and the sample of a bundle vouch for.

        Raises:
            RunError: One is missing, or of another size.
        """
        for name, size in {"start": self.content, "known": self.model["rows"], "log_scale": None}.items():
            shape = self.weights[name].shape if name in self.weights else None
            if shape != (() if size is None else (size,)):
                raise RunError(f"{path} does not fit {MODEL} beside it: {name} is of shape {shape}; train again")
        distances = [each for name, each in self.weights.items() if name.endswith(("by_distance", "log_weight"))]
        if any(each.shape[-1:] != (self.window + 1,) for each in distances):
            raise RunError(f"{path} does not fit {MODEL} beside it: window is {self.window} there; train again")

    @property
    def kind(self) -> str:
        """The kind of history encoder."""
        return str(self.model["history"]["kind"])

    @property
    def content(self) -> int:
        """Size of the vectors without the coordinate for popularity."""
        return int(self.model["dim"])

    @property
    def window(self) -> int:
        """Events of a history that are read."""
        return int(self.model["window"])

    @property
    def leans(self) -> bool:
        """Whether vectors end in a coordinate for popularity."""
        return self.model.get("popularity") in _LEANING

    def reads(self, encoders: tuple[Encoder, ...]) -> bool:
        """Whether the towers read features of these encoders."""
        return bool(self.model["features"] and encoders)

    @property
    def cosine(self) -> bool:
        """Whether vectors, but for that coordinate, have length 1."""
        return str(self.model["geometry"]) == Geometry.cosine.name

    @property
    def strength(self) -> float:
        """What a query's lean on popularity is multiplied by: the temperature, and how much it shall count."""
        told = self.model.get("popularity_strength")
        return (1.0 if told is None else float(told)) / math.exp(float(self.weights["log_scale"]))

    def under(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the weights whose names begin with a prefix, by the rest of their names."""
        return {name.removeprefix(prefix): each for name, each in self.weights.items() if name.startswith(prefix)}

    def likeness_queries(self, vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "n d"]:
        """Return the queries that find what is like videos of these vectors, [n, d]: popularity counts nothing."""
        queries = np.array(vectors)
        queries[:, self.content :] = 0
        return queries


def check_files(folder: Path, weights: str = WEIGHTS) -> None:
    """Check that a folder holds towers.

    Raises:
        RunError: A file is missing.
    """
    if missing := [name for name in (MODEL, weights, ENCODERS) if not (folder / name).is_file()]:
        raise RunError(f"{folder} holds no towers: {missing[0]} is missing; train again or name another folder")


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of weights by their names, mapped: to write changes a page of this process alone.

    Raises:
        RunError: It is no such file, or cut short.

    Source:
        https://huggingface.co/docs/safetensors: a length, a header in JSON, and the arrays one after the other.
        The library itself copies what it reads for numpy.
    """
    try:
        file = np.memmap(path, np.uint8, mode="c")
        begin = _LENGTH + int(file[:_LENGTH].view("<u8")[0])
        header = json.loads(bytes(file[_LENGTH:begin]))
        header.pop("__metadata__", None)
        return {name: _array(file[begin:], told) for name, told in header.items()}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        why = f"{path} cannot be read as weights ({error}); it is cut short, damaged, or of another program"
        raise RunError(f"{why}; train again") from error


def _array(content: np.ndarray, told: Any) -> np.ndarray:  # noqa: ANN401 - whatever a file says
    """Return what a header tells of an array.

    Raises:
        ValueError: It is not all there, of another size than its shape, or of a type that weights do not have.
    """
    dtype, shape, (begin, end) = told["dtype"], told["shape"], told["data_offsets"]
    if dtype not in _TYPES:
        raise ValueError(f"numbers of type {dtype}, where {' and '.join(_TYPES)} are known")
    size = np.dtype(_TYPES[dtype]).itemsize * math.prod(shape)
    if not 0 <= begin <= end <= len(content) or end - begin != size or min(shape, default=0) < 0:
        raise ValueError(f"an array of shape {shape} from byte {begin} to {end} of {len(content)}")
    return np.asarray(content[begin:end]).view(_TYPES[dtype]).reshape(shape)
