"""Histories as they were last seen, of as many users as there is room for."""

from collections import Counter, OrderedDict
from collections.abc import Sequence

from towers.serving.store.store import Event, Id, Watched
from towers.serving.store.watched import pack, unpack_watched, with_more


class Known:
    """The histories last seen, of as many users as there is room for; packed, in a seventh of what their pairs take.

    Args:
        most: How many positives are kept, of all users together; a user counts as one more, or those who have watched
            nothing would be kept for ever.
        longest: How many of one.
    """

    def __init__(self, most: int, longest: int) -> None:
        self._most, self._longest, self._n = most, longest, 0
        self._of: OrderedDict[Id, tuple[bytes, int]] = OrderedDict()

    def mark(self, user: Id) -> object:
        """Return the same object as long as nothing changed."""
        return self._of.get(user)

    def of(self, user: Id) -> Watched:
        """Return a user's history, empty where it is not known."""
        kept = self._of.get(user)
        return [] if kept is None else unpack_watched(kept[0])

    def put(self, user: Id, history: Watched) -> None:
        """Keep a history; forget those that were put longest ago where there are too many."""
        self.forget(user)
        self._of[user] = pack(history), len(history)
        self._n += 1 + len(history)
        while self._n > self._most:
            self._n -= 1 + self._of.popitem(last=False)[1][1]

    def add(self, events: Sequence[Event]) -> None:
        """Put events into the histories of their users."""
        of_user: dict[Id, list[Event]] = {}
        for event in events:
            of_user.setdefault(event.user_id, []).append(event)
        for user, own in of_user.items():
            self.put(user, merged(self.of(user), own, self._longest))

    def forget(self, user: Id) -> None:
        """Know nothing of a user any more."""
        if (known := self._of.pop(user, None)) is not None:
            self._n -= 1 + known[1]


def merged(history: Watched, events: Sequence[Event], longest: int) -> Watched:
    """Return a history with events, of which it may have some already."""
    had = Counter(history if events else [])
    more = []
    for watched in ((event.video_id, event.time_ms) for event in events if event.positive):
        if had[watched]:
            had[watched] -= 1
        else:
            more.append(watched)
    return with_more(history, more, longest)
