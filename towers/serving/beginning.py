"""Which version a service begins with: the bundle's current one, or where that cannot be served, one before it."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from towers.serving.store import StoreAwayError
from towers.serving.version import Refused, Version

_log = logging.getLogger(__name__)


async def first_that_serves(
    names: Sequence[str], served: Callable[[str], Awaitable[Version]]
) -> tuple[Version, Refused | None]:
    """Return the first version that can be served, and the first of all where that is another one.

    A version that a service refused while it ran must not keep it from beginning again.

    Args:
        names: Of versions, the one that is wanted first.
        served: Opens one and makes it know all changes.

    Raises:
        StoreAwayError: The store cannot be reached, which is no version's fault.
        Exception: None can be served; of the one that is wanted.
    """
    failed: Exception | None = None
    for name in names:
        try:
            version = await served(name)
        except StoreAwayError:
            raise
        except Exception as error:
            failed = failed or error
            _log.error("refused version %s: %s", name, str(error) or repr(error))
            continue
        if failed is None:
            return version, None
        _log.error("serving version %s instead, the newest before it that can be served", name)
        return version, Refused(names[0], str(failed) or repr(failed))
    raise failed or ValueError("a bundle without versions cannot be served")
