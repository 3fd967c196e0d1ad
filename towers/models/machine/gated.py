"""The last state of :class:`towers.models.history.GatedHistory`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import affine, product
from towers.models.machine.attention import Terms, attend, terms_at, terms_of
from towers.models.machine.floats import rms_norm, sigmoid
from towers.models.machine.seen import Asked, LastStates, seen_by, time_codes, window_of
from towers.models.machine.weights import Learned


class Weights(NamedTuple):
    """Of all blocks; what a norm multiplies by is in the product that follows.

    Attributes:
        ask: To queries and gates, [blocks, d, 2 d].
        ask_bias: [blocks, 2 d].
        give: To keys and values, [blocks, d, 2 d].
        give_bias: [blocks, 2 d].
        out: Of what was attended to, [blocks, d, d].
        wide: To both halves of the hidden units, and gates, [blocks, d, 2 hidden + d].
        wide_bias: [blocks, 2 hidden + d].
        narrow: Of the hidden units, [blocks, hidden, d].
        norm: Of the states, [d].
        terms: Of all blocks.
        times: Whether times count.
    """

    ask: Float32[ndarray, "blocks d d_2"]
    ask_bias: Float32[ndarray, "blocks d_2"]
    give: Float32[ndarray, "blocks d d_2"]
    give_bias: Float32[ndarray, "blocks d_2"]
    out: Float32[ndarray, "blocks d d"]
    wide: Float32[ndarray, "blocks d e"]
    wide_bias: Float32[ndarray, "blocks e"]
    narrow: Float32[ndarray, "blocks hidden d"]
    norm: Float32[ndarray, " d"]
    terms: Terms
    times: bool


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states."""
    query, key, value, gate = learned.quarters()
    norms = [learned.blocks(f"{name}.weight")[:, :, None] for name in ("before_attention", "before_forward")]
    weights = Weights(
        ask=learned.maps("attend", [query, gate]) * norms[0],
        ask_bias=learned.biases("attend", [query, gate]),
        give=learned.maps("attend", [key, value]) * norms[0],
        give_bias=learned.biases("attend", [key, value]),
        out=learned.maps("out"),
        wide=learned.maps("wide") * norms[1],
        wide_bias=learned.biases("wide"),
        narrow=learned.maps("narrow"),
        norm=learned.one("norm.weight"),
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
            _forward(weights, block, x)
        rms_norm(x, x)
        for place in range(d):
            states[user, place] = x[0, place] * weights.norm[place]
    return states


@compiled
def _attended(
    weights: Weights, block: int, x: Float32[ndarray, "h d"], codes: UInt8[ndarray, "c h"], first: int
) -> Float32[ndarray, "m d"]:
    """Return what goes on past a block's attention, of the events from the first on."""
    (h, d), m = x.shape, len(x) - first
    normed = np.empty_like(x)
    rms_norm(x, normed)
    given, asked = np.empty((h, 2 * d), np.float32), np.empty((m, 2 * d), np.float32)
    affine(normed, weights.give[block], weights.give_bias[block], given)
    affine(normed[first:], weights.ask[block], weights.ask_bias[block], asked)
    pooled, out = np.empty((m, d), np.float32), np.empty((m, d), np.float32)
    attend(asked[:, :d], given[:, :d], given[:, d:], terms_at(weights.terms, block), codes[first:], pooled)
    product(pooled, weights.out[block], out)
    for event in range(m):
        line, gate, old = out[event], asked[event, d:], x[first + event]
        for place in range(d):
            line[place] = old[place] + line[place] * sigmoid(gate[place])
    return out


@compiled
def _forward(weights: Weights, block: int, x: Float32[ndarray, "m d"]) -> None:
    """Add a block's feed-forward layer to what goes on."""
    (m, d), (_, hidden, _), (_, _, e) = x.shape, weights.narrow.shape, weights.wide.shape
    out, wide, units = np.empty((m, d), np.float32), np.empty((m, e), np.float32), np.empty((m, hidden), np.float32)
    rms_norm(x, out)
    affine(out, weights.wide[block], weights.wide_bias[block], wide)
    for event in range(m):
        line, up, bend = units[event], wide[event, :hidden], wide[event, hidden : 2 * hidden]
        for place in range(hidden):
            line[place] = up[place] * bend[place] * sigmoid(bend[place])
    product(units, weights.narrow[block], out)
    for event in range(m):
        line, more, gate = x[event], out[event], wide[event, 2 * hidden :]
        for place in range(d):
            line[place] += more[place] * sigmoid(gate[place])
