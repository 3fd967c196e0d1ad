"""How Redis is reached: over connections that are kept, and tried once more where one was lost."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import NoScriptError, RedisError

from towers.serving.store.store import StoreAwayError

CONNECTIONS = 16
"""How many a process opens to a server at most, and how many calls take turns in a cluster."""


class Calls:
    """Calls a server or a cluster, and says where it cannot be reached.

    Args:
        url: Of a server, or of a node of a cluster.
        address: The same without a password, for messages.
        timeout_s: How long an answer, or a connection, is waited for.
        lanes: Calls of a cluster that may be under way beside those that take turns; 0: there is no cluster. A server's
            client waits where all connections are taken, a cluster's fails.
    """

    def __init__(self, url: str, address: str, timeout_s: float, lanes: int = 0) -> None:
        self._address, self._timeout_s = address, timeout_s
        self._client = _client_of(url, timeout_s, lanes + 2 * CONNECTIONS if lanes else 0)
        self._turns = asyncio.Semaphore(CONNECTIONS) if lanes else None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def run(self, script: str, keys: Sequence[str | bytes], *values: Any) -> Any:  # noqa: ANN401  Redis's types
        """Run a script, in turn.

        Raises:
            StoreAwayError: It cannot be reached, or takes too long.
        """
        async with self._turn():
            return await self.run_now(script, keys, *values)

    async def do(self, *words: Any) -> Any:  # noqa: ANN401  Redis's types
        """Execute a command, in turn; see run."""
        async with self._turn():
            return await self._do_now(*words)

    async def run_now(self, script: str, keys: Sequence[str | bytes], *values: Any) -> Any:  # noqa: ANN401
        """Run a script, for a lane: at once; see run."""
        name = sha1(script.encode(), usedforsecurity=False).hexdigest()
        try:
            return await self._client.evalsha(name, len(keys), *keys, *values)
        except NoScriptError:  # a server that has just started, or a node that has not met it yet
            return await self._do_now("EVAL", script, len(keys), *keys, *values)
        except (RedisError, OSError) as error:
            raise self._away(error) from error

    async def _do_now(self, *words: Any) -> Any:  # noqa: ANN401  Redis's types
        try:
            return await self._client.execute_command(*words)
        except (RedisError, OSError) as error:
            raise self._away(error) from error

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait for a turn, no longer than for an answer."""
        if self._turns is None:
            yield
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turns.acquire()
        except TimeoutError as error:
            raise self._away(error) from error
        try:
            yield
        finally:
            self._turns.release()

    def _away(self, error: Exception) -> StoreAwayError:
        why = str(error) or repr(error)
        return StoreAwayError(f"{self._address}: {why}; see that Redis runs there, has room and takes writes")


def _client_of(url: str, timeout_s: float, cluster: int) -> Redis | RedisCluster:
    """Return a client that tries once more, anew, where a connection was lost: what is done twice is done once."""
    retry = Retry(NoBackoff(), 1, (LostError,))
    if cluster:
        return RedisCluster.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=cluster,
            retry=retry,
        )
    return Redis.from_pool(
        BlockingConnectionPool.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            retry=retry,
        )
    )
