"""The user tower as requests run it: machine code for a user at a time, where evaluation and training run torch."""

from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from jaxtyping import Float32, Int32, Int64
from torch import nn

from towers.features import FeatureTable, Requests
from towers.models.encode import query_vectors
from towers.models.feature_bag import FeatureBag
from towers.models.history.encoder import LastStates
from towers.models.two_tower import TwoTower
from towers.types import Geometry, TowersError

if TYPE_CHECKING:
    from towers.models.machine.ask import Features, Joining, Knowing
    from towers.models.machine.seen import Asked


class UserTower:
    """Gives what :func:`towers.models.query_vectors` gives, in a fraction of the time: tens of microseconds a user.

    Takes the towers' weights once; changes nothing afterwards, so threads may share it, and holds no lock of Python's
    while it computes. Of each history only the last state is made. An encoder without `last_states` goes through torch.

    Args:
        towers: Trained towers.
        vectors: Of every video row, as :func:`towers.models.video_vectors` gives them, [rows, d]; may be mapped.
        users: Of every user row, [users].
    """

    def __init__(self, towers: TwoTower, vectors: Float32[np.ndarray, "rows d"], users: FeatureTable) -> None:
        self._towers, self._vectors, self._users = towers, np.asarray(vectors), users
        self._last_states = towers.history.last_states()
        if self._last_states is None:
            return
        from towers.compiled import entry
        from towers.models.machine.ask import queries
        from towers.models.machine.seen import Asked
        from towers.models.machine.weights import array

        self._asked, self._start, self._window = Asked, array(towers.start), towers.window
        self._features, self._weights = _features(towers, users), (_knowing(towers), _joining(towers))
        # Every second of four numbers, so that what is asked need not be contiguous.
        one, state = np.zeros(4, np.int64)[::2], np.zeros((1, towers.history.width), np.float32)
        nobody = Asked(one[None], one[None], one, self._vectors, self._start, self._window)
        self._last_states = _entered(self._last_states, nobody)
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
        if self._last_states is None:
            return query_vectors(self._towers, vectors, requests, self._users.take(users))
        history, asked_ms = requests.history, requests.asked_ms
        asked = self._asked(history, requests.history_ms, asked_ms, vectors, self._start, self._window)
        states = np.ascontiguousarray(self._last_states(asked), np.float32)
        queries, bad = self._ask(self._weights, self._features, users, asked_ms, states)
        if bad >= 0:
            raise TowersError(f"the vector of user {bad} is not finite; the towers' weights are bad")
        return queries if queries.shape[1] > 1 else queries[:, 0]


def _entered(last_states: LastStates, asked: "Asked") -> LastStates:
    """Return the function without its weights' types being asked for at each call; one of plain Python as it is."""
    from towers.compiled import entry

    code = last_states.func if isinstance(last_states, partial) else last_states
    weights = last_states.args if isinstance(last_states, partial) else ()
    return partial(entry(code, *weights, asked), *weights) if hasattr(code, "compile") else last_states


def _features(towers: TwoTower, users: FeatureTable) -> "Features":
    """Return the features that the towers read, those of a kind side by side."""
    from towers.models.machine.ask import Features

    own = _own_lines(towers, users)
    if not towers.user_features.reads:
        users = FeatureTable(users.codes[:, :0])
    return Features(
        np.ascontiguousarray(users.codes),
        _beside(users.bags, np.zeros((len(users), 0), np.int32)),
        _beside(users.vectors, np.zeros((len(users), 0), np.float32)),
        own,
        _begins(users.bags),
        _begins(users.vectors),
    )


def _own_lines(towers: TwoTower, users: FeatureTable) -> Int32[np.ndarray, "users p"]:
    if towers.user_ids is None:
        return np.zeros((len(users), 0), np.int32)
    rows = torch.from_numpy(np.arange(len(users)) if users.rows is None else users.rows)
    return towers.user_places(rows.to(towers.start.device)).cpu().numpy().astype(np.int32)


def _beside(parts: tuple[np.ndarray, ...], nothing: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(parts[0] if len(parts) == 1 else np.concatenate([nothing, *parts], axis=1))


def _begins(parts: tuple[np.ndarray, ...]) -> Int64[np.ndarray, " parts_1"]:
    return np.cumsum([0, *(part.shape[1] for part in parts)]).astype(np.int64)


def _knowing(towers: TwoTower) -> "Knowing":
    """Return the weights of what is known of who asks, beside the history."""
    from towers.models.machine.ask import Knowing
    from towers.models.machine.weights import array

    bag: FeatureBag = towers.user_features
    nothing = np.zeros((0, towers.config.dim), np.float32)
    projections = [array(layer.weight.T) for layer in cast("list[nn.Linear]", list(bag.projections))]
    hours, weekdays = (array(table.weight) for table in cast("list[nn.Embedding]", list(towers.context)))
    return Knowing(
        array(bag.table.weight),
        bag.get_buffer("starts").cpu().numpy().astype(np.int64),
        np.concatenate([nothing, *projections]),
        np.concatenate([nothing, *(array(mark)[None] for mark in bag.missing)]),
        hours,
        weekdays,
        nothing if towers.user_ids is None else array(towers.user_ids.weight),
    )


def _joining(towers: TwoTower) -> "Joining":
    """Return the weights of the layers that join all that is known."""
    from towers.models.machine.ask import Joining
    from towers.models.machine.weights import array

    wide, narrow = (layer for layer in towers.join if isinstance(layer, nn.Linear))
    config, nothing = towers.config, np.zeros(0, np.float32)
    strength = config.strength / float(towers.scale.detach())
    return Joining(
        array(wide.weight.T),
        array(wide.bias),
        array(narrow.weight.T),
        array(narrow.bias),
        array(towers.lean.weight[0]) if config.leans else nothing,
        array(towers.lean.bias) if config.leans else nothing,
        np.float32(strength),
        config.geometry is Geometry.cosine,
    )
