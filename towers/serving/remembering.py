"""What was answered, on its way to the store: so that what comes back can be joined to what was shown."""

import asyncio
import logging
from zlib import crc32

from towers.serving.asking import Ask
from towers.serving.candidates import Candidates, path_of
from towers.serving.store import Answer, Store, now_ms

_log = logging.getLogger(__name__)
_MOST, _EVERY_S = 10_000, 0.05


class Remembering:
    """Keeps a share of all answers in a store, a little later than they were given.

    Args:
        store: Where.
        share: Of all answers, chosen by the request's id: 0 to 1.

    Attributes:
        unkept: How many answers could not be kept.
    """

    def __init__(self, store: Store, share: float) -> None:
        self._store, self._share, self.unkept = store, share, 0
        self._answers: list[Answer] = []
        self._keeping = asyncio.Lock()

    def remember(self, ask: Ask, request_id: str, found: Candidates) -> None:
        """Remember an answer, if it is of the share."""
        if self._share < 1 and crc32(request_id.encode()) >= self._share * 2**32:
            return
        if len(self._answers) >= _MOST:
            self.unkept += 1
            return
        answer = Answer(
            request_id=request_id,
            user_id=ask.user_id if isinstance(ask.user_id, int | str) else None,
            time_ms=now_ms(),
            path=path_of(found.way),
            bundle_version=found.bundle_version,
            video_ids=list(found.ids if isinstance(found.ids, list) else found.ids.tolist()),
        )
        self._answers.append(answer)

    async def keep_for_ever(self) -> None:
        """Keep what was answered, now and again, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.keep()

    async def keep(self) -> None:
        """Keep all that was answered by now; at its end nothing of it is on its way any more."""
        async with self._keeping:
            answers, self._answers = self._answers, []
            if not answers:
                return
            try:
                await self._store.answered(answers)
            except asyncio.CancelledError:  # by a stop, which tries once more; what is kept twice is kept once
                self._answers = answers + self._answers
                raise
            except Exception as error:  # or no answer was kept from then on
                self.unkept += len(answers)
                _log.warning("%d answers were not kept: %s", len(answers), error)
