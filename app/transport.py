"""Shared. The Redis transport of kombu, made to survive a lost connection, and cheaper.

In kombu 5.7.0 a worker exits with "'NoneType' object has no attribute 'hostname'" when Redis drops
its connection while a message is unacknowledged and a BRPOP is outstanding: the consumer clears
`transport.client` before it closes the channel, and restoring the unacknowledged message then asks
the cleared client for its address. The channel below remembers its parameters instead.

kombu also makes a new `redis.Redis` for every publish and every acknowledgement, on the same
connection pool; building one costs more than the command. The channel keeps one as long as its
pool lives.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis
from kombu.transport.redis import Channel as RedisChannel


class Channel(RedisChannel):
    """A channel that can still acknowledge and restore after its transport was collected."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_connparams = super()._connparams()
        self._kept_client: Any = None

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            return dict(self._last_connparams)
        params: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return params

    @contextmanager
    def conn_or_acquire(self, client: Any = None) -> Iterator[Any]:
        """The given client, or the channel's own; clients may be shared by threads."""
        if client is None:
            if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
                self._kept_client = self._create_client()
            client = self._kept_client
        yield client


class Transport(redis.Transport):
    """kombu's Redis transport with the channel above."""

    Channel = Channel
