"""A history as stores keep it: ordered by time, bounded, and packed."""

from bisect import insort_right
from collections.abc import Iterable
from operator import itemgetter

import msgspec

from towers.serving.store.store import Answer, Change, Event, Watched

pack = msgspec.msgpack.Encoder().encode
"""Turns a history, an event, an answer or a change into MessagePack."""
unpack_watched = msgspec.msgpack.Decoder(Watched).decode
unpack_event = msgspec.msgpack.Decoder(Event).decode
unpack_answer = msgspec.msgpack.Decoder(Answer).decode
unpack_change = msgspec.msgpack.Decoder(Change).decode

_time = itemgetter(1)


def with_more(history: Watched, more: Iterable[tuple[int | str, int]], longest: int) -> Watched:
    """Return the newest of a history and of what came later, oldest first; at one moment in the order they came in.

    Example:
        >>> with_more([(7, 100), (8, 300)], [("a", 200), ("b", 100)], longest=3)
        [('b', 100), ('a', 200), (8, 300)]
    """
    history = list(history)
    for video in more:
        insort_right(history, video, key=_time)
    return history[-longest:]
