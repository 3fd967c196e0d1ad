"""Which version a service begins with: the bundle's current one, or where that cannot be served, one before it."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from towers.serving.version import Refused, Version
from towers.types import TowersError

_log = logging.getLogger(__name__)


async def first_that_opens(
    names: Sequence[str], opened: Callable[[str], Awaitable[Version]]
) -> tuple[Version, Refused | None]:
    """Return the first version that can be served, and the first of all where that is another one.

    A version that a service refused while it ran must not keep it from beginning again.

    Args:
        names: Of versions, the one that is wanted first.
        opened: Opens one.

    Raises:
        TowersError: None can be served; of the one that is wanted.
    """
    failed: TowersError | None = None
    for name in names:
        try:
            version = await opened(name)
        except TowersError as error:
            failed = failed or error
            _log.error("refused version %s: %s", name, error)
            continue
        if failed is None:
            return version, None
        _log.error("serving version %s instead, which was current before", name)
        return version, Refused(names[0], str(failed))
    raise failed or TowersError("a bundle without versions cannot be served")
