"""Videos chosen by what is known about them: a mask for each value of a feature, made when it is first asked for."""

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from towers.data import Kind
from towers.data.vocabulary import FIRST_ROW
from towers.index import Mask
from towers.publishing import Bundle
from towers.serving.catalogue import Catalogue
from towers.serving.lookup import Ids, listed
from towers.types import ConfigError

Value = str | int
Where = Mapping[str, Value | Sequence[Value]]
"""Of each feature the value, or the values of which any will do; a video must suit all features."""
FeatureValue = tuple[str, str]
"""A feature and one of its values."""
_NO_ROWS = np.zeros(0, np.int64)
_NOTHING = Mask(_NO_ROWS)


class Chooser:
    """Says which video rows have which values of which features.

    The features are those that `prepare` found to be names: categorical and multi-valued ones. A feature's rows are
    sorted by value when it is first asked for; a value costs some bytes for each video that has it, and stays.

    Args:
        bundle: Whose videos.
        videos: Their rows.
    """

    def __init__(self, bundle: Bundle, videos: Catalogue) -> None:
        self._bundle, self._videos = bundle, videos
        self._columns: dict[str, _Column] = {}
        self._said: dict[int, set[FeatureValue]] = {}
        self._came: dict[FeatureValue, set[int]] = {}
        self._again = _NO_ROWS
        self._of_bundle: dict[FeatureValue, Mask] = {}
        self._masks: dict[FeatureValue, Mask] = {}

    @cached_property
    def features(self) -> dict[str, Kind]:
        """The features that can be asked for."""
        kinds = {encoder.name: encoder.kind for encoder in self._bundle.tower_arrays.encoders.videos}
        return {name: kind for name, kind in kinds.items() if kind in {Kind.categorical, Kind.multi}}

    def prepare(self) -> None:
        """Sort the rows of all features now, that nobody who asks for one waits."""
        for feature in self.features:
            self._column(feature)

    def note(self, rows: Int64[np.ndarray, " n"], features: Sequence[Mapping[str, Any]]) -> set[FeatureValue]:
        """Remember what videos that have come since, or again, are said to be; by the thread that asks for masks.

        Returns:
            The values that any of them gained or lost, as far as these were asked for, and maybe others; the masks of
            all others stay as they are, and so does what indexes know of them.
        """
        first = np.array([row for row in rows.tolist() if row < self._videos.first_new and row not in self._said], int)
        before: dict[int, set[FeatureValue]] = {row: set() for row in first.tolist()}
        for pair, mask in self._of_bundle.items() if len(first) else ():
            for row in first[mask.holds(first)].tolist():
                before[row].add(pair)
        self._again = np.append(self._again, first)
        changed: set[FeatureValue] = set()
        for row, told in zip(rows.tolist(), features, strict=True):
            now = self._pairs(told)
            lost, gained = self._said.get(row, before.get(row, set())) - now, now - self._said.get(row, set())
            for pair in lost & self._came.keys():
                self._came[pair].discard(row)
            for pair in gained:
                self._came.setdefault(pair, set()).add(row)
            changed |= lost | (gained - before.get(row, set()))
            self._said[row] = now
        for pair in changed:
            self._masks.pop(pair, None)
        return changed

    def _pairs(self, features: Mapping[str, Any]) -> set[FeatureValue]:
        told = {name: features.get(name) for name in self.features}
        lists = {name: value if isinstance(value, list) else [value] for name, value in told.items()}
        return {(name, str(value)) for name, values in lists.items() for value in values if value is not None}

    def said_of(self, row: int) -> dict[str, list[str]] | None:
        """Return what a video that has come since, or again, is said to be, by feature; None of one that has not."""
        said = self._said.get(row)
        if said is None:
            return None
        return {feature: sorted(value for name, value in said if name == feature) for feature in self.features}

    def mask(self, where: Where | None, ids: Ids | None, *, certain: bool = False) -> Mask:
        """Return the mask of the rows that suit both; see Retriever.only. If certain, a value must be known."""
        if where is not None and not isinstance(where, Mapping):
            raise ConfigError(f"where is {where!r}; give values by feature, as in {{'tags': ['a', 'b']}}")
        if not where and ids is None:
            raise ConfigError("which videos? give where, as in {'tags': ['a', 'b']}, or ids")
        masks = [self._any(feature, values, certain) for feature, values in (where or {}).items()]
        if ids is not None:
            rows = self._videos.rows(ids) if len(listed("ids", ids)) else np.zeros(0, np.int64)
            masks.append(Mask(rows[rows >= FIRST_ROW]))
        return masks[0] if len(masks) == 1 else Mask.all_of(masks)

    def _any(self, feature: str, values: Value | Sequence[Value], certain: bool) -> Mask:
        if feature not in self.features:
            there = ", ".join(self.features) or "none"
            raise ConfigError(f"videos have no feature {feature!r} to choose by; there are: {there}")
        masks = [self._one(feature, value) for value in several(values)]
        if certain and (unmet := self.unmet({feature: values})):
            raise ConfigError(f"no video has {unmet[0]}, so nothing would be hidden; it is mistyped")
        return masks[0] if len(masks) == 1 else Mask.any_of(masks)

    def unmet(self, where: Where) -> list[str]:
        """Return in words the values that no video has."""
        asked = [(feature, value) for feature, values in where.items() for value in several(values)]
        return [f"{feature} {value!r}" for feature, value in asked if self._one(feature, value) is _NOTHING]

    def _one(self, feature: str, value: Value) -> Mask:
        if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
            raise ConfigError(f"{feature} is asked for {value!r}; give a name such as 'a', or a whole number")
        pair = feature, str(value)
        mask = self._masks.get(pair)
        if mask is None:
            mask = self._made(pair)
            if mask is not _NOTHING:  # or all that nobody has, whoever asks for it, would be kept
                self._masks[pair] = mask
        return mask

    def _made(self, pair: FeatureValue) -> Mask:
        """Return the mask of a value: the bundle's videos, but those that came again, and those that have it now.

        Indexes remember what they found of its parts, so that a video that comes costs no pass over all that have the
        value.
        """
        mask, came = self._bundles(pair), self._came.get(pair, set())
        again = self._again[mask.holds(self._again)] if mask is not _NOTHING else _NO_ROWS
        if len(again) == len(mask.ids):
            return Mask(_rows(came)) if came else _NOTHING
        if len(again):
            mask &= ~Mask(again)
        return mask | Mask(_rows(came)) if came else mask

    def _bundles(self, pair: FeatureValue) -> Mask:
        mask = self._of_bundle.get(pair)
        if mask is None:
            rows = self._column(pair[0]).rows(pair[1])
            if not len(rows):
                return _NOTHING
            mask = self._of_bundle[pair] = Mask(rows)
        return mask

    def _column(self, feature: str) -> "_Column":
        if feature not in self._columns:
            self._columns[feature] = _Column.of(self._bundle.video_table()[feature], self.features[feature])
        return self._columns[feature]


def no_video_has(unmet: Sequence[str]) -> str:
    """Return in a sentence what :meth:`Chooser.unmet` found.

    Example:
        >>> no_video_has(["tags 'a'", "tags 7"])
        "no video has tags 'a', nor tags 7"
    """
    return f"no video has {', nor '.join(unmet)}"


def _rows(some: Collection[int]) -> Int64[np.ndarray, " n"]:
    return np.fromiter(some, np.int64, len(some))


def several(values: Value | Sequence[Value]) -> list[Any]:
    """Return the values that are asked for, which may be one alone."""
    return list(values) if isinstance(values, list | tuple | set | frozenset | np.ndarray) else [values]


class _Column:
    """The rows of a feature, sorted by value."""

    def __init__(self, codes: dict[str, int], begins: Int64[np.ndarray, " n"], order: Int64[np.ndarray, " m"]) -> None:
        self._codes, self._begins, self._order = codes, begins, order

    @classmethod
    def of(cls, column: pa.ChunkedArray, kind: Kind) -> "_Column":
        values = column.combine_chunks()
        owners = np.arange(len(values)) + FIRST_ROW
        if kind is Kind.multi:
            sizes = pc.list_value_length(values).fill_null(0).to_numpy(zero_copy_only=False)
            owners, values = np.repeat(owners, sizes), values.flatten()
        coded = values.cast(pa.string()).dictionary_encode()
        codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy(zero_copy_only=False)
        counts = np.bincount(codes, minlength=len(coded.dictionary) + 1)
        begins = np.concatenate([[0], np.cumsum(counts)])
        names = {name: code for code, name in enumerate(coded.dictionary.to_pylist())}
        # Numbers of 16 bits are sorted in a third of the time.
        small = codes.astype(np.min_scalar_type(len(coded.dictionary)))
        return cls(names, begins, owners[np.argsort(small, kind="stable")])

    def rows(self, name: str) -> Int64[np.ndarray, " n"]:
        """Return the rows that have a value."""
        code = self._codes.get(name)
        return self._order[:0] if code is None else self._order[self._begins[code] : self._begins[code + 1]]
