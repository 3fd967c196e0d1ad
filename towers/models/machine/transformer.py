"""The last state of :class:`towers.models.history.TransformerHistory`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import affine
from towers.models.machine.attention import Terms, attend, terms_at, terms_of
from towers.models.machine.floats import layer_norm
from towers.models.machine.seen import Asked, LastStates, seen_by, time_codes, window_of
from towers.models.machine.weights import Learned


class Weights(NamedTuple):
    """Of all blocks.

    Attributes:
        norms: Weights and biases before attention and before the feed-forward layer, [blocks, 2, 2, d].
        ask: To queries, [blocks, d, d].
        give: To keys and values, [blocks, d, 2 d].
        out: Of what was attended to, [blocks, d, d].
        wide: To the hidden units, [blocks, d, hidden].
        narrow: Of the hidden units, [blocks, hidden, d].
        ask_bias, give_bias, out_bias, wide_bias, narrow_bias: [blocks, …].
        norm: Weight and bias of the states' norm, [2, d].
        terms: Of all blocks.
        times: Whether times count.
    """

    norms: Float32[ndarray, "blocks 2 2 d"]
    ask: Float32[ndarray, "blocks d d"]
    give: Float32[ndarray, "blocks d d_2"]
    out: Float32[ndarray, "blocks d d"]
    wide: Float32[ndarray, "blocks d hidden"]
    narrow: Float32[ndarray, "blocks hidden d"]
    ask_bias: Float32[ndarray, "blocks d"]
    give_bias: Float32[ndarray, "blocks d_2"]
    out_bias: Float32[ndarray, "blocks d"]
    wide_bias: Float32[ndarray, "blocks hidden"]
    narrow_bias: Float32[ndarray, "blocks d"]
    norm: Float32[ndarray, "2 d"]
    terms: Terms
    times: bool


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states."""
    layers = {"ask": "query", "give": "key_value", "out": "out", "wide": "wide", "narrow": "narrow"}
    weights = Weights(
        norms=learned.norms("before_attention", "before_forward"),
        **{name: learned.maps(layer) for name, layer in layers.items()},
        **{f"{name}_bias": learned.biases(layer) for name, layer in layers.items()},
        norm=learned.norm(),
        terms=terms_of(learned),
        times=learned.times,
    )
    return partial(last_states, weights)


@compiled
def last_states(weights: Weights, asked: Asked) -> Float32[ndarray, "q d"]:
    """Return the state after each user's last event; the last block computes no other."""
    seen = seen_by(asked)
    blocks, d, _ = weights.ask.shape
    states = np.empty((len(asked.asked_ms), d), np.float32)
    for user in range(len(states)):
        x = window_of(seen, user) * np.float32(np.sqrt(d))
        codes = time_codes(seen, user, 0) if weights.times else np.zeros((0, 0), np.uint8)
        for block in range(blocks):
            x = _attended(weights, block, x, codes, len(x) - 1 if block == blocks - 1 else 0)
            x = _forwarded(weights, block, x)
        layer_norm(x, weights.norm, states[user : user + 1])
    return states


@compiled
def _attended(
    weights: Weights, block: int, x: Float32[ndarray, "h d"], codes: UInt8[ndarray, "c h"], first: int
) -> Float32[ndarray, "m d"]:
    """Return what goes on past a block's attention, of the events from the first on."""
    (h, d), m = x.shape, len(x) - first
    normed, asked, pooled = np.empty((m, d), np.float32), np.empty((m, d), np.float32), np.empty((m, d), np.float32)
    given = np.empty((h, 2 * d), np.float32)
    layer_norm(x[first:], weights.norms[block, 0], normed)
    affine(x, weights.give[block], weights.give_bias[block], given)
    affine(normed, weights.ask[block], weights.ask_bias[block], asked)
    attend(asked[:, :], given[:, :d], given[:, d:], terms_at(weights.terms, block), codes[first:], pooled)
    affine(pooled, weights.out[block], weights.out_bias[block], asked)
    return normed + asked


@compiled
def _forwarded(weights: Weights, block: int, x: Float32[ndarray, "m d"]) -> Float32[ndarray, "m d"]:
    """Return what goes on past a block's feed-forward layer."""
    normed, out, units = np.empty_like(x), np.empty_like(x), np.empty((len(x), weights.wide.shape[2]), np.float32)
    layer_norm(x, weights.norms[block, 1], normed)
    affine(normed, weights.wide[block], weights.wide_bias[block], units)
    for event in range(len(units)):
        for place in range(units.shape[1]):
            units[event, place] = max(units[event, place], np.float32(0))
    affine(units, weights.narrow[block], weights.narrow_bias[block], out)
    return normed + out
