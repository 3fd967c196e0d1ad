"""The last state of :class:`towers.models.history.GruHistory`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import affine
from towers.models.machine.floats import ONE, sigmoid, tanh
from towers.models.machine.seen import Asked, LastStates, seen_by, window_of
from towers.models.machine.weights import Learned, array


class Weights(NamedTuple):
    """Of all layers; the thirds of what is made are for reset, update and new state.

    Attributes:
        read: Of the layer's input, [layers, d, 3 d].
        read_bias: [layers, 3 d].
        keep: Of the layer's state, [layers, d, 3 d].
        keep_bias: [layers, 3 d].
    """

    read: Float32[ndarray, "layers d d_3"]
    read_bias: Float32[ndarray, "layers d_3"]
    keep: Float32[ndarray, "layers d d_3"]
    keep_bias: Float32[ndarray, "layers d_3"]


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states."""
    layers = range(learned.options["layers"])
    maps = {of: learned.stacked(f"cells.weight_{of}_l{layer}" for layer in layers) for of in ("ih", "hh")}
    biases = {of: learned.stacked(f"cells.bias_{of}_l{layer}" for layer in layers) for of in ("ih", "hh")}
    read, keep = (array(maps[of].swapaxes(1, 2)) for of in ("ih", "hh"))
    weights = Weights(read, biases["ih"], keep, biases["hh"])
    return partial(last_states, weights)


@compiled
def last_states(weights: Weights, asked: Asked) -> Float32[ndarray, "q d"]:
    """Return the state after each user's last event."""
    seen = seen_by(asked)
    (layers, d, wide), unit = weights.read.shape, np.float32(np.sqrt(weights.read.shape[1]))
    states = np.empty((len(asked.asked_ms), d), np.float32)
    for user in range(len(states)):
        x = window_of(seen, user) * unit
        read = np.empty((len(x), wide), np.float32)
        for layer in range(layers):
            affine(x, weights.read[layer], weights.read_bias[layer], read)
            _run(read, weights.keep[layer], weights.keep_bias[layer], x)
        for place in range(d):
            states[user, place] = x[-1, place] / unit
    return states


@compiled
def _run(
    read: Float32[ndarray, "h d_3"],
    keep: Float32[ndarray, "d d_3"],
    bias: Float32[ndarray, " d_3"],
    states: Float32[ndarray, "h d"],
) -> None:
    """Write a layer's state after each event."""
    d = states.shape[1]
    state, kept = np.zeros((1, d), np.float32), np.empty((1, 3 * d), np.float32)
    for event in range(len(states)):
        affine(state, keep, bias, kept)
        line = read[event]
        for place in range(d):
            reset = sigmoid(line[place] + kept[0, place])
            update = sigmoid(line[d + place] + kept[0, d + place])
            new = tanh(line[2 * d + place] + reset * kept[0, 2 * d + place])
            state[0, place] = (ONE - update) * new + update * state[0, place]
        for place in range(d):
            states[event, place] = state[0, place]
