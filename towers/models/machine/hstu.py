"""The last state of :class:`towers.models.history.HstuHistory`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import affine
from towers.models.machine.attention import Terms, attend, terms_at, terms_of
from towers.models.machine.floats import layer_norm, sigmoid
from towers.models.machine.seen import Asked, LastStates, seen_by, time_codes, window_of
from towers.models.machine.weights import Learned


class Weights(NamedTuple):
    """Of all blocks.

    Attributes:
        norms: Weights and biases before and after attention, [blocks, 2, 2, d].
        ask: To gates and queries, [blocks, d, 2 d].
        give: To keys and values, [blocks, d, 2 d].
        out: Of what was attended to, [blocks, d, d].
        ask_bias, give_bias, out_bias: [blocks, …].
        norm: Weight and bias of the states' norm, [2, d].
        terms: Of all blocks.
        times: Whether times count.
    """

    norms: Float32[ndarray, "blocks 2 2 d"]
    ask: Float32[ndarray, "blocks d d_2"]
    give: Float32[ndarray, "blocks d d_2"]
    out: Float32[ndarray, "blocks d d"]
    ask_bias: Float32[ndarray, "blocks d_2"]
    give_bias: Float32[ndarray, "blocks d_2"]
    out_bias: Float32[ndarray, "blocks d"]
    norm: Float32[ndarray, "2 d"]
    terms: Terms
    times: bool


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states."""
    gate, query, key, value = learned.quarters()
    weights = Weights(
        norms=learned.norms("before", "after"),
        ask=learned.maps("wide", [gate, query]),
        give=learned.maps("wide", [key, value]),
        out=learned.maps("out"),
        ask_bias=learned.biases("wide", [gate, query]),
        give_bias=learned.biases("wide", [key, value]),
        out_bias=learned.biases("out"),
        norm=learned.norm(),
        terms=terms_of(learned, silu=True),
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
            x = _block(weights, block, x, codes, len(x) - 1 if block == blocks - 1 else 0)
        layer_norm(x, weights.norm, states[user : user + 1])
    return states


@compiled
def _block(
    weights: Weights, block: int, x: Float32[ndarray, "h d"], codes: UInt8[ndarray, "c h"], first: int
) -> Float32[ndarray, "m d"]:
    """Return what goes on past a block, of the events from the first on."""
    (h, d), m = x.shape, len(x) - first
    normed, pooled, out = np.empty_like(x), np.empty((m, d), np.float32), np.empty((m, d), np.float32)
    given, asked = np.empty((h, 2 * d), np.float32), np.empty((m, 2 * d), np.float32)
    layer_norm(x, weights.norms[block, 0], normed)
    affine(normed, weights.give[block], weights.give_bias[block], given)
    affine(normed[first:], weights.ask[block], weights.ask_bias[block], asked)
    _silu(given)
    _silu(asked)
    attend(asked[:, d:], given[:, :d], given[:, d:], terms_at(weights.terms, block), codes[first:], pooled)
    layer_norm(pooled, weights.norms[block, 1], pooled)
    for event in range(m):
        for place in range(d):
            pooled[event, place] *= asked[event, place]
    affine(pooled, weights.out[block], weights.out_bias[block], out)
    return x[first:] + out


@compiled
def _silu(x: Float32[ndarray, "n d"]) -> None:
    for row in range(len(x)):
        line = x[row]
        for place in range(len(line)):
            line[place] *= sigmoid(line[place])
