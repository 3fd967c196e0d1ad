"""How raw features become codes: fitted once, before the cut, and never again."""

import hashlib
import json
from dataclasses import dataclass
from enum import Enum
from typing import Any

MISSING_CODE, UNKNOWN_CODE = 0, 1


class Kind(Enum):
    """What sort of thing a feature is."""

    categorical = "categorical"
    """One of several names."""
    multi = "multi"
    """Several names at once, such as tags."""
    numeric = "numeric"
    """A number, cut into quantile buckets."""
    vector = "vector"
    """A content vector of fixed width."""


@dataclass(frozen=True)
class Encoder:
    """How one feature is encoded.

    Categorical and multi-valued: 0 is missing, 1 an unknown value, 2 + i is `values[i]`.
    Numeric: 0 is missing or NaN, otherwise 1 + the number of boundaries at or below the value.

    Attributes:
        name: The feature's column.
        kind: What sort of thing it is.
        values: The names met often enough before the cut, sorted.
        boundaries: Quantiles before the cut, increasing.
        dim: Numbers of a vector.

    Example:
        >>> Encoder("duration_ms", Kind.numeric, boundaries=(1000.0, 5000.0)).size
        4
    """

    name: str
    kind: Kind
    values: tuple[str, ...] = ()
    boundaries: tuple[float, ...] = ()
    dim: int = 0

    @property
    def size(self) -> int:
        """How many codes there are; 0 for a vector, which has none."""
        if self.kind is Kind.vector:
            return 0
        return len(self.boundaries) + 2 if self.kind is Kind.numeric else len(self.values) + 2

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as JSON can say it, without what its kind has not."""
        rest: dict[str, Any] = {"dim": self.dim}
        if self.kind in {Kind.categorical, Kind.multi}:
            rest = {"values": list(self.values)}
        elif self.kind is Kind.numeric:
            rest = {"boundaries": list(self.boundaries)}
        return {"name": self.name, "kind": self.kind.name, **rest}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Encoder":
        """Return the encoder that `to_json` wrote."""
        values, boundaries = tuple(value.get("values", ())), tuple(value.get("boundaries", ()))
        return cls(value["name"], Kind[value["kind"]], values, boundaries, value.get("dim", 0))


@dataclass(frozen=True)
class Encoders:
    """The encoders of all features.

    Attributes:
        users: Of the users' features, in column order.
        videos: Of the videos' features, in column order.
    """

    users: tuple[Encoder, ...] = ()
    videos: tuple[Encoder, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 over everything that was fitted."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """Return all encoders as JSON can say them."""
        return {"users": [e.to_json() for e in self.users], "videos": [e.to_json() for e in self.videos]}

    @classmethod
    def from_json(cls, value: dict[str, list[dict[str, Any]]]) -> "Encoders":
        """Return the encoders that `to_json` wrote."""
        return cls(tuple(map(Encoder.from_json, value["users"])), tuple(map(Encoder.from_json, value["videos"])))
