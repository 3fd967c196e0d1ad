"""Causal attention from the last events of one window."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy import ndarray

from towers.models.history.attention import CausalAttention, Weighting
from towers.models.machine.compiled import compiled
from towers.models.machine.floats import ONE, sigmoid, softmax
from towers.models.machine.weights import stacked
from towers.models.machine.product import ROWS, one_row, several_rows


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


def terms_of(layers: Sequence[CausalAttention], width: int) -> Terms:
    """Return the terms of layers as they are now, whose heads share out a width."""
    by_place = stacked(layer.by_distance.flip(-1) for layer in layers)
    by_time = stacked(torch.zeros(1) if layer.by_time is None else layer.by_time for layer in layers)
    scale = np.float32((width / layers[0].heads) ** -0.5)
    return Terms(by_place, by_time, scale, layers[0].weighting is Weighting.silu)


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
    size = d // heads
    keys, weights = np.empty((size, h), np.float32), np.empty((m, h), np.float32)
    nothing, scales = np.zeros(max(h, size), np.float32), np.empty(m, np.float32)
    for head in range(heads):
        here = slice(head * size, (head + 1) * size)
        for event in range(h):
            for place in range(size):
                keys[place, event] = key[event, head * size + place]
        _causal(query[:, here], keys, nothing, weights, False)
        for row in range(m):
            scales[row] = _weigh(weights, row, terms, head, codes)
        _causal(weights, value[:, here], nothing, out[:, here], True)
        for row in range(m):
            for place in range(size):
                out[row, head * size + place] *= scales[row]


@compiled
def _weigh(
    weights: Float32[ndarray, "m h"], row: int, terms: Terms, head: int, codes: UInt8[ndarray, "c h"]
) -> float:
    """Replace a query's products by weights, those of later events by 0; return what their sum is multiplied by."""
    (m, h), line, by_place = weights.shape, weights[row], terms.by_place[head]
    count = h - m + row + 1
    begin = len(by_place) - count
    for event in range(count):
        line[event] = line[event] * terms.scale + by_place[begin + event]
    if len(codes):
        for event in range(count):
            line[event] += terms.by_time[codes[row, event]]
    for event in range(count, min(count + ROWS, h)):
        line[event] = 0
    if not terms.silu:
        return softmax(line, count)
    for event in range(count):
        line[event] *= sigmoid(line[event])
    return ONE / np.float32(count)


@compiled
def _causal(
    x: Float32[ndarray, "m d"],
    w: Float32[ndarray, "d e"],
    bias: Float32[ndarray, " e"],
    out: Float32[ndarray, "m e"],
    summing: bool,
) -> None:
    """Write `x @ w` to out as far as the rows, the last of a window, reach: in its columns or, summing, in its depth."""
    (m, depth), width = x.shape, w.shape[1]
    before = (depth if summing else width) - m
    whole = m - m % ROWS
    for row in range(0, whole, ROWS):
        reach = before + row + ROWS
        several_rows(x, w, bias, out, (row, width, reach) if summing else (row, reach, depth))
    for row in range(whole, m):
        reach = before + row + 1
        one_row(x, w, bias, out, (row, width, reach) if summing else (row, reach, depth))
