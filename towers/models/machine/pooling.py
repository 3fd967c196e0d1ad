"""The last state of :class:`towers.models.history.AttentionHistory`."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import compiled
from towers.models.machine.attention import Terms
from towers.models.machine.floats import dot, softmax
from towers.models.machine.product import affine
from towers.models.machine.recency import add_up
from towers.models.machine.seen import Asked, seen_by, time_codes, window_of


class Weights(NamedTuple):
    """Of the encoder.

    Attributes:
        asks: What the last event, as it is, asks of all events as they are, a head after the other, [d, heads d].
        always: What all users ask, [heads d].
        terms: What is added to the logits.
        times: Whether times count.
    """

    asks: Float32[ndarray, "d w"]
    always: Float32[ndarray, " w"]
    terms: Terms
    times: bool


@compiled
def last_states(weights: Weights, asked: Asked) -> Float32[ndarray, "q w"]:
    """Return means of each user's events, weighted by how they fit the last one, without their keys."""
    seen = seen_by(asked)
    by_place, d = weights.terms.by_place, seen.events.shape[1]
    states = np.zeros((len(asked.asked_ms), len(by_place) * d), np.float32)
    wanted, logits = np.empty((1, states.shape[1]), np.float32), np.empty(by_place.shape[1], np.float32)
    for user in range(len(states)):
        events = window_of(seen, user)
        last = len(events) - 1
        affine(events[last:], weights.asks, weights.always, wanted)
        codes = time_codes(seen, user, last) if weights.times else np.zeros((1, 1), np.uint8)
        for head in range(len(by_place)):
            here = slice(head * d, (head + 1) * d)
            for event in range(len(events)):
                term = by_place[head, by_place.shape[1] - len(events) + event]
                if weights.times:
                    term += weights.terms.by_time[codes[0, event]]
                logits[event] = dot(events[event], wanted[0, here]) + term
            add_up(events, logits, softmax(logits, len(events)), states[user, here])
    return states
