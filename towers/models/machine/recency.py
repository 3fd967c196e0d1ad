"""The last state of :class:`towers.models.history.RecencyHistory`."""

from functools import partial

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import compiled
from towers.models.machine.floats import softmax
from towers.models.machine.seen import Asked, LastStates, seen_by, window_of
from towers.models.machine.weights import Learned


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states."""
    return partial(last_states, learned.one("log_weight"), learned.one("log_start"))


@compiled
def last_states(
    log_weight: Float32[ndarray, "heads length_1"], log_start: Float32[ndarray, " heads"], asked: Asked
) -> Float32[ndarray, "q w"]:
    """Return weighted means of each user's events, one for each head."""
    seen = seen_by(asked)
    heads, d = len(log_weight), seen.events.shape[1]
    states = np.zeros((len(asked.asked_ms), heads * d), np.float32)
    weights = np.empty(log_weight.shape[1], np.float32)
    for user in range(len(states)):
        events = window_of(seen, user)
        for head in range(heads):
            for event in range(len(events)):
                weights[event] = log_weight[head, len(events) - 1 - event]
            weights[0] = log_start[head]
            add_up(events, weights, softmax(weights, len(events)), states[user, head * d : (head + 1) * d])
    return states


@compiled
def add_up(
    events: Float32[ndarray, "h d"],
    weights: Float32[ndarray, " length_1"],
    scale: np.float32,
    out: Float32[ndarray, " d"],
) -> None:
    """Write the sum of weighted events, times the scale, to out, which is 0."""
    for event in range(len(events)):
        weight = weights[event] * scale
        for place in range(len(out)):
            out[place] += weight * events[event, place]
