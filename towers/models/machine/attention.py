"""Causal attention from the last events of one window."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import LANES, ROWS, rows
from towers.models.machine.floats import ONE, sigmoid, softmax
from towers.models.machine.weights import Learned


class Terms(NamedTuple):
    """What makes weights of products, in one layer or in all.

    Attributes:
        by_place: For each head, the term of each distance, the longest first, [heads, length + 1].
        by_time: The term of each code of the time since an event, [codes].
        scale: What products are multiplied by.
        silu: Whether a weight is SiLU of its logit over the number of events; else the weights are a softmax.
    """

    by_place: Float32[ndarray, "*layers heads length_1"]
    by_time: Float32[ndarray, "*layers codes"]
    scale: np.float32
    silu: bool


def terms_of(learned: Learned, *, silu: bool = False, layers: Sequence[str] = ()) -> Terms:
    """Return the terms of the attention of all blocks, or of layers of other names, whose heads share out a width."""
    names = layers or [f"blocks.{block}.attention" for block in range(learned.options["blocks"])]
    by_place = learned.stacked(f"{name}.by_distance" for name in names)
    timed = f"{names[0]}.by_time" in learned.weights
    by_time = learned.stacked(f"{name}.by_time" for name in names) if timed else np.zeros((len(names), 1), np.float32)
    scale = np.float32((learned.dim / by_place.shape[1]) ** -0.5)
    return Terms(np.ascontiguousarray(by_place[..., ::-1]), by_time, scale, silu)


@compiled
def terms_at(terms: Terms, layer: int) -> Terms:
    """Return the terms of one layer."""
    return Terms(terms.by_place[layer], terms.by_time[layer], terms.scale, terms.silu)


@compiled
def attend(
    query: Float32[ndarray, "m d"],
    key: Float32[ndarray, "h d"],
    value: Float32[ndarray, "h d"],
    terms: Terms,
    codes: UInt8[ndarray, "m h"],
    out: Float32[ndarray, "m d"],
) -> None:
    """Write what the last m events of a window attend to.

    Args:
        query: What each of the last asks, [m, d].
        key: What each event is found by, [h, d].
        value: What each event gives, [h, d].
        terms: What is added to the logits.
        codes: Of the time since each event, [m, h]; of no rows where times do not count.
        out: Where to write, [m, d].
    """
    (m, d), h, heads = query.shape, len(key), len(terms.by_place)
    size, padded = d // heads, (h + LANES - 1) // LANES * LANES
    keys, weights = np.zeros((size, padded), np.float32), np.empty((m, padded), np.float32)
    nowhen = np.zeros(0, np.uint8)
    nothing, scales = np.zeros(max(padded, size), np.float32), np.empty(m, np.float32)
    for head in range(heads):
        here = slice(head * size, (head + 1) * size)
        mine, to = key[:, here], out[:, here]
        for event in range(h):
            for place in range(size):
                keys[place, event] = mine[event, place]
        for row in range(0, m, ROWS):
            reach = (h - m + min(row + ROWS, m) + LANES - 1) // LANES * LANES
            rows(query[:, here], keys, nothing, weights, (row, reach, size))
        for row in range(m):
            ago = codes[row] if len(codes) else nowhen
            scales[row] = _weigh(weights[row], terms.by_place[head], terms, ago, h - m + row + 1)
        for row in range(0, m, ROWS):
            rows(weights, value[:, here], nothing, to, (row, size, h - m + min(row + ROWS, m)))
        for row in range(m):
            for place in range(size):
                to[row, place] *= scales[row]


@compiled
def _weigh(
    line: Float32[ndarray, " h"],
    by_place: Float32[ndarray, " length_1"],
    terms: Terms,
    codes: UInt8[ndarray, " c"],
    count: int,
) -> np.float32:
    """Replace a query's products by weights, those of later events by 0; return what their sum is multiplied by."""
    by_place = by_place[len(by_place) - count :]
    for event in range(count):
        line[event] = line[event] * terms.scale + by_place[event]
    if len(codes):
        for event in range(count):
            line[event] += terms.by_time[codes[event]]
    for event in range(count, min(count + ROWS, len(line))):
        line[event] = 0
    if not terms.silu:
        return softmax(line, count)
    for event in range(count):
        line[event] *= sigmoid(line[event])
    return ONE / np.float32(count)
