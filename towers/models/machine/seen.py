"""What users ask and have watched, as machine code reads it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64, UInt8
from numpy import ndarray

from towers.compiled import compiled
from towers.data import TIME_UNKNOWN
from towers.index.instructions import prefetch
from towers.models.machine.codes import FIRST, HALF_OCTAVES

_AHEAD = 8
"""Vectors lie anywhere in memory: those of so many events are under way at once."""


class Asked(NamedTuple):
    """Requests, and what an encoder reads beside them.

    Attributes:
        history: As :class:`towers.features.Requests` has it, [q, h].
        history_ms: Likewise, [q, h].
        asked_ms: Likewise, [q].
        vectors: Of all video rows, [rows, v]; what they have beside d numbers is none of a history's business.
        start: Stands before every history, [d].
        window: At most so many events of each are read.
    """

    history: Int64[ndarray, "q h"]
    history_ms: Int64[ndarray, "q h"]
    asked_ms: Int64[ndarray, " q"]
    vectors: Float32[ndarray, "rows v"]
    start: Float32[ndarray, " d"]
    window: int


LastStates = Callable[[Asked], Float32[ndarray, "q w"]]
"""Requests to each one's last state, without torch."""


class Seen(NamedTuple):
    """What users have watched: their windows one after the other, none padded, each after the learned start.

    Attributes:
        events: Vectors of the start and of what was watched, oldest first, [n, d].
        begins: Where each user's start stands, and the end, [q + 1].
        happened_ms: When each event happened, UTC, [n]; TIME_UNKNOWN where that is not known, as of the start.
        asked_ms: When each user asks, UTC, [q]; TIME_UNKNOWN where that is not known.
    """

    events: Float32[ndarray, "n d"]
    begins: Int64[ndarray, " q_1"]
    happened_ms: Int64[ndarray, " n"]
    asked_ms: Int64[ndarray, " q"]


@compiled
def seen_by(asked: Asked) -> Seen:
    """Return the newest events of each request, as many as the window holds, each with its video's vector."""
    history, vectors, start = asked.history, asked.vectors, asked.start
    q, d = len(history), len(start)
    begins, ends = np.zeros(q + 1, np.int64), np.zeros(q, np.int64)
    for user in range(q):
        for place in range(history.shape[1]):
            ends[user] += history[user, place] > 0
        begins[user + 1] = begins[user] + 1 + min(asked.window, ends[user])
    events, happened_ms = np.empty((begins[q], d), np.float32), np.empty(begins[q], np.int64)
    for user in range(q):
        place = begins[user]
        happened_ms[place] = TIME_UNKNOWN
        events[place, :] = start
        for event in range(ends[user] - (begins[user + 1] - place - 1), ends[user]):
            place += 1
            prefetch(vectors, history[user, min(event + _AHEAD, ends[user] - 1)])
            happened_ms[place] = asked.history_ms[user, event]
            events[place, :] = vectors[history[user, event], :d]
    return Seen(events, begins, happened_ms, asked.asked_ms)


@compiled
def window_of(seen: Seen, user: int) -> Float32[ndarray, "h d"]:
    """Return the start and the events of one user, oldest first."""
    return seen.events[seen.begins[user] : seen.begins[user + 1]]


@compiled
def time_codes(seen: Seen, user: int, first: int) -> UInt8[ndarray, "m h"]:
    """Return what :func:`towers.models.history.since.time_since` says of the states from the first on."""
    happened_ms = seen.happened_ms[seen.begins[user] : seen.begins[user + 1]]
    count = len(happened_ms)
    codes, known = np.zeros((count - first, count), np.uint8), happened_ms != TIME_UNKNOWN
    begin = np.iinfo(np.int64).max
    for event in range(count):
        if known[event]:
            begin = min(begin, happened_ms[event] // 1000)
    since = np.empty(count, np.int32)
    for event in range(count):
        since[event] = _clamped(happened_ms[event] // 1000 - begin) if known[event] else 0
    for row in range(count - first):
        state = first + row
        asked_ms = happened_ms[state + 1] if state + 1 < count else seen.asked_ms[user]
        if asked_ms == TIME_UNKNOWN:
            asked_ms = happened_ms[state]
        if asked_ms != TIME_UNKNOWN and begin < np.iinfo(np.int64).max:
            asked, line = _clamped(asked_ms // 1000 - begin), codes[row]
            for event in range(state + 1):
                seconds = np.float32(max(asked - since[event], 0)) + np.float32(1)
                line[event] = ((np.float32(seconds).view(np.int32) >> HALF_OCTAVES) - FIRST) * known[event]
    return codes


@compiled
def _clamped(seconds: int) -> np.int32:
    return np.int32(min(max(seconds, 0), np.iinfo(np.int32).max))
