"""The user tower as requests run it: machine code for a user at a time, where evaluation and training run torch."""

from functools import partial
from importlib import import_module

import numpy as np
from jaxtyping import Float32, Int32, Int64

from towers.compiled import entry
from towers.features import FeatureTable, Requests
from towers.models.arrays import TowerArrays
from towers.models.machine import FORMS
from towers.models.machine.ask import Features, Joining, Knowing, queries
from towers.models.machine.seen import Asked, LastStates
from towers.models.machine.weights import Learned, array
from towers.models.video_tower import BagArrays, places_at
from towers.types import TowersError


class UserTower:
    """Gives what :func:`towers.models.query_vectors` gives, in a fraction of the time: tens of microseconds a user.

    Takes the towers' weights once, but for users' own vectors, which it shares; changes nothing afterwards, so threads
    may share it, and holds no lock of Python's while it computes. Of each history only the last state is made.

    Args:
        towers: Trained towers, of a kind that :func:`has_form` says yes to.
        vectors: Of every video row, as :func:`towers.models.video_vectors` gives them, [rows, d]; may be mapped.
        users: Of every user row, [users].
    """

    def __init__(self, towers: TowerArrays, vectors: Float32[np.ndarray, "rows d"], users: FeatureTable) -> None:
        self._vectors, self._start, self._window = np.asarray(vectors), array(towers.weights["start"]), towers.window
        self._features, self._weights = _features(towers, users), (_knowing(towers), _joining(towers))
        # Every second of four numbers, so that what is asked need not be contiguous.
        one = np.zeros(4, np.int64)[::2]
        state = np.zeros((1, len(self._weights[1].wide) - towers.content), np.float32)
        nobody = Asked(one[None], one[None], one, self._vectors, self._start, self._window)
        self._last_states = _entered(last_states_of(towers), nobody)
        self._ask = entry(queries, self._weights, self._features, one, one, state)

    def queries(
        self,
        requests: Requests,
        users: Int64[np.ndarray, " q"],
        vectors: Float32[np.ndarray, "n d"] | None = None,
    ) -> Float32[np.ndarray, "q *i d"]:
        """Return each user's vector, [q, d]; [q, interests, d] where the towers give several.

        Args:
            requests: What each user has watched, of which the last `window` events are read, and when they ask, [q].
            users: Rows of the users, [q].
            vectors: By which history is read, where that is of other rows, [n, d]; the first pads.

        Raises:
            TowersError: A vector is not finite.
        """
        vectors = self._vectors if vectors is None else vectors
        history, asked_ms = requests.history, requests.asked_ms
        asked = Asked(history, requests.history_ms, asked_ms, vectors, self._start, self._window)
        states = np.ascontiguousarray(self._last_states(asked), np.float32)
        queries, bad = self._ask(self._weights, self._features, users, asked_ms, states)
        if bad >= 0:
            raise TowersError(f"the vector of user {bad} is not finite; the towers' weights are bad")
        return queries if queries.shape[1] > 1 else queries[:, 0]


def has_form(towers: TowerArrays) -> bool:
    """Return whether requests to towers of this kind need no torch."""
    return towers.kind in FORMS


def last_states_of(towers: TowerArrays) -> LastStates:
    """Return the function that gives the last states alone, of the history encoder's weights as they are now."""
    learned = Learned(towers.under("history."), towers.model["history"], towers.content)
    last_states: LastStates = import_module(f"towers.models.machine.{FORMS[towers.kind]}").last_states_of(learned)
    return last_states


def _entered(last_states: LastStates, asked: Asked) -> LastStates:
    """Return the function without its weights' types being asked for at each call; one of plain Python as it is."""
    code = last_states.func if isinstance(last_states, partial) else last_states
    weights = last_states.args if isinstance(last_states, partial) else ()
    return partial(entry(code, *weights, asked), *weights) if hasattr(code, "compile") else last_states


def _features(towers: TowerArrays, users: FeatureTable) -> Features:
    """Return the features that the towers read, those of a kind side by side."""
    own = _own_lines(towers, users)
    if not towers.reads(towers.encoders.users):
        users = FeatureTable(users.codes[:, :0])
    return Features(
        np.ascontiguousarray(users.codes),
        _beside(users.bags, np.zeros((len(users), 0), np.int32)),
        _beside(users.vectors, np.zeros((len(users), 0), np.float32)),
        own,
        _begins(users.bags),
        _begins(users.vectors),
    )


def _own_lines(towers: TowerArrays, users: FeatureTable) -> Int32[np.ndarray, "users p"]:
    if not towers.model["user_id"]:
        return np.zeros((len(users), 0), np.int32)
    rows = np.arange(len(users)) if users.rows is None else users.rows
    return places_at(rows, towers.weights["known_users"], towers.model["user_id_buckets"]).astype(np.int32)


def _beside(parts: tuple[np.ndarray, ...], nothing: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate([nothing, *parts], axis=1))


def _begins(parts: tuple[np.ndarray, ...]) -> Int64[np.ndarray, " parts_1"]:
    return np.cumsum([0, *(part.shape[1] for part in parts)]).astype(np.int64)


def _knowing(towers: TowerArrays) -> Knowing:
    """Return the weights of what is known of who asks, beside the history."""
    bag = BagArrays.of(towers, "user_features.", towers.encoders.users)
    nothing = np.zeros((0, towers.content), np.float32)
    return Knowing(
        array(bag.table),
        bag.starts,
        np.concatenate([nothing, *bag.projections]),
        np.concatenate([nothing, *(mark[None] for mark in bag.missing)]),
        array(towers.weights["context.0.weight"]),
        array(towers.weights["context.1.weight"]),
        np.asarray(towers.weights.get("user_ids.weight", nothing)),
    )


def _joining(towers: TowerArrays) -> Joining:
    """Return the weights of the layers that join all that is known."""
    layers, nothing = towers.under("join."), np.zeros(0, np.float32)
    wide, narrow = sorted({name.partition(".")[0] for name in layers}, key=int)
    return Joining(
        array(layers[f"{wide}.weight"].T),
        array(layers[f"{wide}.bias"]),
        array(layers[f"{narrow}.weight"].T),
        array(layers[f"{narrow}.bias"]),
        array(towers.weights["lean.weight"][0]) if towers.leans else nothing,
        array(towers.weights["lean.bias"]) if towers.leans else nothing,
        np.float32(towers.strength),
        towers.cosine,
    )
