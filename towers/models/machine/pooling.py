"""The last state of :class:`towers.models.history.AttentionHistory`."""

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import compiled
from towers.index.affine import affine
from towers.models.machine.attention import Terms, terms_at, terms_of
from towers.models.machine.floats import dot, softmax
from towers.models.machine.recency import add_up
from towers.models.machine.seen import Asked, LastStates, seen_by, time_codes, window_of
from towers.models.machine.weights import Learned, array


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


_LAYERS = ("query", "key")


def last_states_of(learned: Learned) -> LastStates:
    """Return the function that gives last states; what asks and what is asked are one map."""
    dim, heads = learned.dim, learned.options["heads"]
    query, key = (learned.weights[f"{name}.weight"].astype(np.float64).reshape(heads, -1, dim) for name in _LAYERS)
    bias = learned.weights["query.bias"].astype(np.float64).reshape(heads, -1)
    scale = dim**0.5 / (dim / heads) ** 0.5
    asks = np.einsum("hei,heo->iho", query, key).reshape(dim, -1) * dim**0.5 * scale
    always = np.einsum("he,heo->ho", bias, key).reshape(-1) * scale
    terms = terms_of(learned, layers=("attention",))
    weights = Weights(array(asks), array(always), terms_at(terms, 0), learned.times)
    return partial(last_states, weights)


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
