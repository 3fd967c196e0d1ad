"""A published version, opened for reading: verified, then asked for what it must still know."""

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float32, Int64

from towers.data import Positives, Vocabulary
from towers.data.vocabulary import FIRST_ROW, as_ids
from towers.features import FeatureTable, encode_table
from towers.index import Searcher, load_index
from towers.models import TowerArrays, has_form
from towers.publishing import checksums
from towers.publishing.parity import Material, Sample, prove_again
from towers.publishing.versions import version_folder
from towers.types import BundleError

if TYPE_CHECKING:
    from towers.models import TwoTower

SCHEMA = 2
POSITIVES = ("offsets", "video_row", "time_ms", "weight")


class Bundle:
    """One immutable version of a bundle. Large arrays stay on disk and are mapped.

    An open bundle needs its files' names no more: it answers on after the version is removed by a later publish.

    Attributes:
        folder: Of the version.
        manifest: Schema, versions, configuration, fingerprints, counts, index, proof and checksums.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._users, self._videos = (_mapped(folder / f"{name}.parquet") for name in ("users", "videos"))

    @classmethod
    def open(cls, folder: str | Path, verify: bool = True, threads: int = 1, compared: Path | None = None) -> "Bundle":
        """Open the current version of a bundle, or the version whose folder is given.

        Args:
            folder: Of a bundle or of one of its versions.
            verify: Whether to read every byte and compare checksums, .6 s of a core for each GB: for a bundle that has
                come from elsewhere. Otherwise the manifest alone is read, and the other files must be there in their
                sizes, where the manifest tells them: a file changed in place is not seen, and may be read wrongly. The
                stored sample is asked for in any case.
            threads: How many read and compare.
            compared: A page of the caller's own, made where there is none, by which files that were read before and
                not written since are not read again; see checksums.verify.

        Raises:
            BundleError: There is no bundle, it has another schema, a file is missing or changed, or it does not
                answer the stored sample as it did when it was published.
            ConfigError: Its index asks for a GPU, and there is none.
            NotInstalledError: Its index is FAISS's, or its encoder has no form without torch, and that is not there.
        """
        place = version_folder(Path(folder)).absolute()
        manifest = read_manifest(place)
        if verify:
            checksums.verify(place, manifest["files"], threads, compared)
        else:
            checksums.verify_sizes(place, manifest.get("bytes") or dict.fromkeys(manifest["files"]))
        bundle = cls(place, manifest)
        sample = Sample.load(place / "sample")
        prove_again(sample, bundle.material, bundle.features_of(sample.videos))
        return bundle

    @property
    def version(self) -> str:
        """The version's name: a number and 8 digits of a hash."""
        return str(self.manifest["version"])

    @property
    def reads_once(self) -> bool:
        """Whether of a video watched again the first time alone was learned from; bundles of before do not say so."""
        return bool(self.manifest.get("repeats") == "first")

    @cached_property
    def towers(self) -> "TwoTower":
        """The towers in torch, on the CPU; answers are made without."""
        from towers.models import load_towers

        return load_towers(self.folder / "towers", mapped=True)

    @cached_property
    def tower_arrays(self) -> TowerArrays:
        """The towers as arrays, mapped: what answers are made from."""
        return TowerArrays.load(self.folder / "towers")

    @cached_property
    def vectors(self) -> Float32[np.ndarray, "rows d"]:
        """Vectors of all video rows; row 0 pads, row 1 is an unknown video."""
        return _mapped_array(self.folder / "vectors.npy")

    @cached_property
    def index(self) -> Searcher:
        """The search over video rows."""
        return load_index(self.folder / "index")

    @cached_property
    def positives(self) -> Positives:
        """The histories of all user rows."""
        folder = self.folder / "histories"
        return Positives(*(_mapped_array(folder / f"{name}.npy") for name in POSITIVES))

    @cached_property
    def users(self) -> Vocabulary:
        """User ids and rows."""
        return _vocabulary(self._users, "user_id")

    @cached_property
    def videos(self) -> Vocabulary:
        """Video ids and rows."""
        return _vocabulary(self._videos, "video_id")

    @cached_property
    def user_features(self) -> FeatureTable:
        """Encoded features of all user rows."""
        return encode_table(self.tower_arrays.encoders.users, self.user_table())

    def features_of(self, rows: Int64[np.ndarray, " n"]) -> FeatureTable:
        """Return the encoded features of some video rows, with these rows, [n]; row 1 is an unknown video."""
        known = rows >= FIRST_ROW
        encoders = self.tower_arrays.encoders.videos
        columns = ["video_row", *(encoder.name for encoder in encoders)]
        table = pq.read_table(pa.BufferReader(self._videos), columns=columns).take(rows[known] - FIRST_ROW)
        lines = encode_table(encoders, table).take(np.where(known, FIRST_ROW - 1 + np.cumsum(known), rows))
        return replace(lines, rows=rows)

    def user_table(self) -> pa.Table:
        """Return user_row, user_id, known and the raw features, in row order from row 2."""
        return pq.read_table(pa.BufferReader(self._users))

    def video_table(self) -> pa.Table:
        """Return video_row, video_id, known and the raw features, in row order from row 2."""
        return pq.read_table(pa.BufferReader(self._videos))

    @cached_property
    def material(self) -> Material:
        """Everything from which answers are made."""
        towers = self.tower_arrays
        in_torch = None if has_form(towers) else self.towers
        return Material(towers, self.vectors, self.positives, self.user_features, self.index, in_torch)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a version.

    Raises:
        BundleError: It cannot be read, is of another schema, or has changed.
    """
    try:
        manifest = json.loads((folder / checksums.MANIFEST).read_text(encoding="utf-8"))
        schema = manifest["schema_version"]
    except KeyError as error:
        raise BundleError(
            f"{folder} is no version of a bundle: its {checksums.MANIFEST} says no schema_version; "
            "give the folder that `towers publish bundle=FOLDER` wrote"
        ) from error
    except (ValueError, TypeError) as error:
        raise BundleError(f"bundle {folder}: {checksums.MANIFEST} cannot be read ({error!r}); publish again") from error
    if schema != SCHEMA:
        raise BundleError(
            f"bundle {folder} has schema {schema}, this towers reads {SCHEMA}; publish it again with this version: "
            "towers publish run=… bundle=…"
        )
    checksums.verify_seal(folder)
    return dict(manifest)


def _mapped_array(path: Path) -> np.ndarray:
    """Return an array, mapped so that writing would change a page of this process alone.

    Machine code is made for arrays that may be written, and would be made once more for those that may not.
    """
    array: np.ndarray = np.load(path, mmap_mode="c")
    return array


def _mapped(path: Path) -> pa.Buffer:
    """Return a file's bytes, mapped: they stay readable after the file is removed."""
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


def _vocabulary(file: pa.Buffer, name: str) -> Vocabulary:
    """Return the ids of a table, which were different from each other when it was published."""
    column = pq.read_table(pa.BufferReader(file), columns=[name])[name]
    return Vocabulary(as_ids(column.to_pylist() if pa.types.is_string(column.type) else column.to_numpy()))
