"""The moment that searches see now, and the one way to the next: journal, disk, moment, in this order."""

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from towers.index.live.folder import journal_file
from towers.index.live.journal import Change, Journal, net
from towers.index.live.moment import Moment
from towers.index.live.opening import State
from towers.index.searcher import BlockSearcher
from towers.types import DataError

_FEW = 16


class _Call:
    """A change that waits for its turn, and what comes of it: how many of its ids were there, or an error."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.there: int | None = None
        self.error: Exception | None = None


class Current:
    """The latest moment of a live index.

    Attributes:
        now: What a search that begins now sees; it is only ever replaced as a whole.
        number: Of the journal that is written.
    """

    def __init__(self, folder: Path, state: State, *, write: bool, sync: bool) -> None:
        self.now, self.number = state.now, state.ends[-1][0]
        self._folder, self._dim, self._sync = folder, int(state.header["dim"]), sync
        self._waiting: deque[_Call] = deque()
        self._writing = threading.Lock()
        self._since: list[Change] | None = None
        self._journal: Journal | None = None
        for number, end in state.ends if write else ():
            if self._journal is not None:
                self._journal.close()
            self._journal = Journal(journal_file(folder, number), end, sync=sync)

    def write(self, change: Change) -> int:
        """Make a change durable, then visible; return how many of its ids were there before.

        Whoever gets the lock does this for all who wait, with one wait for the disk.

        Raises:
            DataError: Not open for writing, or the disk refused.
        """
        call = _Call(change)
        self._waiting.append(call)
        with self._writing:
            if call.there is None and call.error is None:
                self._commit()
        if call.error is not None:
            raise call.error
        return call.there or 0

    def begin(self) -> Moment:
        """Begin the next journal; return the moment that the journals before it lead to."""
        old = self._opened()
        # Twice, so that the second time, for which writers wait, is short.
        old.flush()
        number = self.number + 1
        new = Journal.create(journal_file(self._folder, number), self._dim, sync=self._sync)
        try:
            with self._writing:
                old.flush()
                self._journal, self.number, self._since = new, number, []
                now = self.now
        except BaseException:
            new.close()
            raise
        old.close()
        return now

    def move_to(self, main: BlockSearcher) -> None:
        """Let searches see a main part of the moment that begin returned, and what came since.

        Writers wait only while the last few changes are made again. Where memory runs out searches go on with what
        they had; `stay` must be called then, as after anything else that went wrong since begin.
        """
        now = Moment.of(main)
        while True:
            with self._writing:
                changes, self._since = self._since or [], []
                if len(changes) <= _FEW:
                    self.now, self._since = self._after(now, changes), None
                    return
            now = self._after(now, changes)

    def stay(self) -> None:
        """Go on with the main part that is there; the journals are read one after the other."""
        with self._writing:
            self._since = None

    def close(self) -> None:
        """Close the journal; nothing can be written from here on."""
        with self._writing:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def _commit(self) -> None:
        calls = [self._waiting.popleft() for _ in range(len(self._waiting))]
        now, counts = self.now, []
        try:
            journal = self._opened()
            journal.append([call.change for call in calls])
            with journal.guarded():
                for call in calls:
                    now, there = now.after(call.change)
                    counts.append(there)
        except BaseException as error:  # each of them has a caller who must know
            for call in calls:
                call.error = (
                    error if isinstance(error, Exception) else DataError(f"interrupted ({error!r}); open again")
                )
            if not isinstance(error, Exception):
                raise
            return
        if self._since is not None:
            self._since += [call.change for call in calls]
        self.now = now
        for call, there in zip(calls, counts, strict=True):
            call.there = there

    def _after(self, now: Moment, changes: Sequence[Change]) -> Moment:
        for change in net(changes, self._dim):
            now, _ = now.after(change)
        return now

    def _opened(self) -> Journal:
        if self._journal is None:
            raise DataError(f"{self._folder} is not open for writing here; open it with write=True, and close it last")
        return self._journal
