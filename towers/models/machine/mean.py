"""The last state of :class:`towers.models.history.MeanHistory`."""

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from towers.compiled import compiled
from towers.models.machine.seen import Asked, LastStates, seen_by, window_of
from towers.models.machine.weights import Learned


def last_states_of(learned: Learned) -> LastStates:  # noqa: ARG001 - a mean learns nothing
    """Return the function that gives last states."""
    return last_states


@compiled
def last_states(asked: Asked) -> Float32[ndarray, "q d"]:
    """Return the mean of each user's events."""
    seen = seen_by(asked)
    states = np.zeros((len(asked.asked_ms), seen.events.shape[1]), np.float32)
    for user in range(len(states)):
        events, state = window_of(seen, user), states[user]
        for event in range(len(events)):
            for place in range(len(state)):
                state[place] += events[event, place]
        for place in range(len(state)):
            state[place] /= np.float32(len(events))
    return states
