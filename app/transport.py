"""Shared. The Redis transport of kombu, made to survive a lost connection.

In kombu 5.7.0 a worker exits with "'NoneType' object has no attribute 'hostname'" when Redis drops
its connection while a message is unacknowledged and a BRPOP is outstanding: the consumer clears
`transport.client` before it closes the channel, and restoring the unacknowledged message then asks
the cleared client for its address. The channel below remembers its parameters instead.
"""

from typing import Any

from kombu.transport import redis
from kombu.transport.redis import Channel as RedisChannel


class Channel(RedisChannel):
    """A channel that can still acknowledge and restore after its transport was collected."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_connparams = super()._connparams()

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            return dict(self._last_connparams)
        params: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        return params


class Transport(redis.Transport):
    """kombu's Redis transport with the channel above."""

    Channel = Channel
