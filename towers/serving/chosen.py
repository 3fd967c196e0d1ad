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
Named = tuple[str, str]
"""A feature and one of its values."""
_NOTHING = Mask(np.zeros(0, np.int64))


class Chooser:
    """Says which video rows have which values of which features.

    The features are those that `prepare` found to be names: categorical and multi-valued ones. A feature's rows are
    sorted by value when it is first asked for; a value costs some bytes for each video that has it.

    Args:
        bundle: Whose videos.
        videos: Their rows.
    """

    def __init__(self, bundle: Bundle, videos: Catalogue) -> None:
        self._bundle, self._videos = bundle, videos
        self._columns: dict[str, _Column] = {}
        self._said: dict[int, set[Named]] = {}
        self._came: dict[Named, set[int]] = {}
        self._again: set[int] = set()
        self._of_bundle: dict[Named, Mask] = {}
        self._masks: dict[Named, Mask] = {}

    @cached_property
    def features(self) -> dict[str, Kind]:
        """The features that can be asked for."""
        kinds = {encoder.name: encoder.kind for encoder in self._bundle.tower_arrays.encoders.videos}
        return {name: kind for name, kind in kinds.items() if kind in {Kind.categorical, Kind.multi}}

    def prepare(self) -> None:
        """Sort the rows of all features now, that nobody who asks for one waits."""
        for feature in self.features:
            self._column(feature)

    def note(self, row: int, features: Mapping[str, Any]) -> set[Named]:
        """Remember what a video that has come since, or again, is said to be.

        Returns:
            The values, of those that were asked for, that other videos have from now on; masks of others stay as they
            are, and so does what indexes know of them.
        """
        said = {name: features.get(name) for name in self.features}
        several = {name: value if isinstance(value, list) else [value] for name, value in said.items()}
        now = {(name, str(value)) for name, values in several.items() for value in values if value is not None}
        before = self._said.get(row)
        if before is None:
            before = {each for each, mask in self._of_bundle.items() if mask.holds(np.array([row]))[0]}
            if row < self._videos.first_new:
                self._again.add(row)
        for each in before & self._came.keys():
            self._came[each].discard(row)
        for each in now:
            self._came.setdefault(each, set()).add(row)
        self._said[row] = now
        for each in before ^ now:
            self._masks.pop(each, None)
        return before ^ now

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
        several = _several(values)
        masks = [self._one(feature, value) for value in several]
        if certain and (unmet := self.unmet({feature: several})):
            raise ConfigError(f"no video has {unmet[0]}, so nothing would be hidden; it is mistyped")
        return masks[0] if len(masks) == 1 else Mask.any_of(masks)

    def unmet(self, where: Where) -> list[str]:
        """Return in words the values that no video has."""
        asked = [(feature, value) for feature, values in where.items() for value in _several(values)]
        return [f"{feature} {value!r}" for feature, value in asked if self._one(feature, value) is _NOTHING]

    def _one(self, feature: str, value: Value) -> Mask:
        if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
            raise ConfigError(f"{feature} is asked for {value!r}; give a name such as 'a', or a whole number")
        each = feature, str(value)
        if each not in self._masks:
            mask = self._made(each)
            if mask is _NOTHING:
                return mask
            self._masks[each] = mask
        return self._masks[each]

    def _made(self, each: Named) -> Mask:
        """Return the mask of a value: that of the bundle's videos, which stays, less those that came again, and more.

        Indexes remember what they found of its parts, so that a video that comes costs no pass over all that have the
        value.
        """
        mask = self._of_bundle.get(each, _NOTHING)
        if mask is _NOTHING and len(rows := self._column(each[0]).rows(each[1])):
            mask = self._of_bundle[each] = Mask(rows)
        came, again = _rows(self._came.get(each, ())), _rows(self._again)
        again = again[mask.holds(again)]
        if len(again) == len(mask.ids):
            return Mask(came) if len(came) else _NOTHING
        if len(again):
            mask &= ~Mask(again)
        return mask | Mask(came) if len(came) else mask

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


def _several(values: Value | Sequence[Value]) -> list[Any]:
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
