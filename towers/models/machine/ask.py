"""From state, features and moment to what a user asks: :meth:`towers.models.TwoTower.states` after the history."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numpy import ndarray

from towers.compiled import compiled
from towers.data import TIME_UNKNOWN
from towers.features.calendar import HOUR_MS, THURSDAY
from towers.index.affine import affine
from towers.models.machine.floats import dot

_LEAST = np.float32(1e-12)
_HALF, _ROOT = np.float32(0.5), np.float32(np.sqrt(0.5))


class Features(NamedTuple):
    """Encoded features of users, those of a kind side by side, and where each begins.

    Attributes:
        codes: Of single-valued features, [users, f].
        bags: Of multi-valued ones, [users, b].
        vectors: Content vectors, [users, v].
        own: Lines of a table that add up to each user's own vector, [users, 0 to 2].
        bag_begins: Columns where the bags begin, and the end, [bags + 1].
        vector_begins: Columns where the content vectors begin, and the end, [vectors + 1].
    """

    codes: Int32[ndarray, "users f"]
    bags: Int32[ndarray, "users b"]
    vectors: Float32[ndarray, "users v"]
    own: Int32[ndarray, "users p"]
    bag_begins: Int64[ndarray, " bags_1"]
    vector_begins: Int64[ndarray, " vectors_1"]


class Knowing(NamedTuple):
    """The weights of what is known of who asks, beside the history.

    Attributes:
        table: Of all codes, [lines, d].
        starts: Where each feature's lines begin, single-valued ones first, [f + bags].
        projection: Of content vectors, [v, d].
        missing: In place of a missing one, [vectors, d].
        hours: Of the hours, [25, d].
        weekdays: Of the weekdays, [8, d].
        own: Users' own vectors, [lines, d].
    """

    table: Float32[ndarray, "lines d"]
    starts: Int64[ndarray, " features"]
    projection: Float32[ndarray, "v d"]
    missing: Float32[ndarray, "vectors d"]
    hours: Float32[ndarray, "25 d"]
    weekdays: Float32[ndarray, "8 d"]
    own: Float32[ndarray, "places d"]


class Joining(NamedTuple):
    """The weights of the layers that join all that is known.

    Attributes:
        wide: To the hidden units, [w + d, hidden].
        wide_bias: [hidden].
        narrow: To the queries, [hidden, interests d].
        narrow_bias: [interests d].
        lean: How much a query leans on popularity, [w + d]; empty where there is no term for it.
        lean_bias: [1].
        strength: What the lean is multiplied by, temperature included.
        cosine: Whether queries are brought to length 1.
    """

    wide: Float32[ndarray, "k hidden"]
    wide_bias: Float32[ndarray, " hidden"]
    narrow: Float32[ndarray, "hidden j"]
    narrow_bias: Float32[ndarray, " j"]
    lean: Float32[ndarray, " l"]
    lean_bias: Float32[ndarray, " 1"]
    strength: np.float32
    cosine: bool


@compiled
def _known(
    knowing: Knowing,
    features: Features,
    users: Int64[ndarray, " q"],
    asked_ms: Int64[ndarray, " q"],
    states: Float32[ndarray, "q w"],
) -> Float32[ndarray, "q k"]:
    """Return each user's state with their own vector and, after it, the sum of what features and the moment say."""
    (q, w), d = states.shape, knowing.table.shape[1]
    out = np.zeros((q, w + d), np.float32)
    for row in range(q):
        about = out[row, w:]
        for place in range(w):
            out[row, place] = states[row, place]
        for line in features.own[users[row]]:
            for begin in range(0, w, d):
                _add(knowing.own[line], np.float32(1), out[row, begin : begin + d])
        for feature in range(features.codes.shape[1]):
            _add(knowing.table[knowing.starts[feature] + features.codes[users[row], feature]], np.float32(1), about)
        for bag in range(len(features.bag_begins) - 1):
            codes = features.bags[users[row], features.bag_begins[bag] : features.bag_begins[bag + 1]]
            _add_bag(knowing.table, knowing.starts[features.codes.shape[1] + bag], codes, about)
        for part in range(len(features.vector_begins) - 1):
            begin, end = features.vector_begins[part], features.vector_begins[part + 1]
            vector = features.vectors[users[row], begin:end]
            _add_vector(vector, knowing.projection[begin:end], knowing.missing[part], about)
        hour, known = asked_ms[row] // HOUR_MS, asked_ms[row] != TIME_UNKNOWN
        _add(knowing.hours[(hour % 24 + 1) * known], np.float32(1), about)
        _add(knowing.weekdays[((hour // 24 + THURSDAY) % 7 + 1) * known], np.float32(1), about)
    return out


@compiled
def _add(line: Float32[ndarray, " d"], times: np.float32, out: Float32[ndarray, " d"]) -> None:
    """Add a multiple of a line."""
    for place in range(len(out)):
        out[place] += times * line[place]


@compiled
def _add_bag(
    table: Float32[ndarray, "lines d"], start: int, codes: Int32[ndarray, " b"], out: Float32[ndarray, " d"]
) -> None:
    """Add the mean of a bag's lines; that of code 0 where the bag is empty."""
    count = 0
    for code in codes:
        count += code > 0
    if not count:
        _add(table[start], np.float32(1), out)
    for code in codes:
        if code > 0:
            _add(table[start + code], np.float32(1 / count), out)


@compiled
def _add_vector(
    vector: Float32[ndarray, " v"],
    projection: Float32[ndarray, "v d"],
    missing: Float32[ndarray, " d"],
    out: Float32[ndarray, " d"],
) -> None:
    """Add a content vector, brought to length 1 and projected; `missing` where it is all zero."""
    if not np.any(vector != 0):
        _add(missing, np.float32(1), out)
        return
    length = max(np.sqrt(dot(vector, vector)), _LEAST)
    for place in range(len(vector)):
        _add(projection[place], vector[place] / length, out)


@compiled
def queries(
    weights: tuple[Knowing, Joining],
    features: Features,
    users: Int64[ndarray, " q"],
    asked_ms: Int64[ndarray, " q"],
    states: Float32[ndarray, "q w"],
) -> tuple[Float32[ndarray, "q i d"], int]:
    """Return what each user asks, and the first user of whom a number is not finite, or -1.

    Args:
        weights: Of what is known beside the history, and of the layers that join it.
        features: Of all users.
        users: Rows of those who ask, [q].
        asked_ms: When each asks, UTC, [q]; TIME_UNKNOWN where that is not known.
        states: The history encoder's, [q, w].
    """
    knowing, joining = weights
    dim, known = knowing.table.shape[1], _known(knowing, features, users, asked_ms, states)
    q, leans = len(known), len(joining.lean) > 0
    interests, states = joining.narrow.shape[1] // dim, (known.shape[1] - dim) // dim
    hidden, joined = np.empty((q, joining.wide.shape[1]), np.float32), np.empty((q, interests * dim), np.float32)
    affine(known, joining.wide, joining.wide_bias, hidden)
    for row in range(q):
        for place in range(hidden.shape[1]):
            hidden[row, place] *= _HALF * (np.float32(1) + np.float32(math.erf(hidden[row, place] * _ROOT)))
    affine(hidden, joining.narrow, joining.narrow_bias, joined)
    out, bad = np.empty((q, interests, dim + leans), np.float32), -1
    for row in range(q - 1, -1, -1):
        for interest in range(interests):
            line, begin = out[row, interest], interest % states * dim
            for place in range(dim):
                line[place] = joined[row, interest * dim + place] + known[row, begin + place]
            if joining.cosine:
                length = max(np.sqrt(dot(line[:dim], line[:dim])), _LEAST)
                for place in range(dim):
                    line[place] /= length
            if leans:
                line[dim] = joining.strength * _softplus(dot(known[row], joining.lean) + joining.lean_bias[0])
            if not np.isfinite(dot(line, line)):
                bad = row
    return out, bad


@compiled
def _softplus(x: np.float32) -> np.float32:
    return np.float32(max(x, np.float32(0)) + np.log1p(np.exp(-abs(x))))
