"""How Redis is reached: over connections that are kept, and tried once more where one was lost."""

from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError

CONNECTIONS = 16
"""How many a process opens at most, to each node of a cluster twice as many: its client does not wait for one."""


def client_of(url: str, timeout_s: float, *, cluster: bool) -> Redis | RedisCluster:
    """Return a client that tries once more, anew, where a connection was lost: what is done twice is done once."""
    retry = Retry(NoBackoff(), 1, (LostError,))
    if cluster:
        return RedisCluster.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=2 * CONNECTIONS,
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
