"""Shared. The Redis transport of kombu, made to survive a lost connection, and cheaper.

In kombu 5.7.0 a worker exits with "'NoneType' object has no attribute 'hostname'" when Redis drops
its connection while a message is unacknowledged and a BRPOP is outstanding: the consumer clears
`transport.client` before it closes the channel, and restoring the unacknowledged message then asks
the cleared client for its address. The channel below remembers its parameters instead.

kombu also makes a new `redis.Redis` for every publish and every acknowledgement, on the same
connection pool; building one costs more than the command. The channel keeps one as long as its
pool lives.

And a queue declared `no_ack` is meant: kombu would let a worker take messages of it without bound,
and still write to Redis when they are acknowledged. Here they count towards the prefetch limit like
all others, in this process alone: two round trips less for each.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis, virtual
from kombu.transport.redis import Channel as RedisChannel


class QoS(redis.QoS):
    """Counts the messages of `no_ack` queues, and tells Redis of the others only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._untold: set[str] = set()

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message until it is acknowledged or rejected."""
        if message.delivery_info["routing_key"] in self.channel.no_ack_queues:
            self._untold.add(delivery_tag)
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """The message is done."""
        if delivery_tag in self._untold:
            self._untold.discard(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The message is refused; with `requeue`, the next in line will get it."""
        if delivery_tag not in self._untold:
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            message = self.get(delivery_tag)
            where = message.delivery_info["exchange"], message.delivery_info["routing_key"]
            with self.pipe_or_acquire() as pipe:
                self.channel._do_restore_message(message._raw, *where, pipe, leftmost=True)
                pipe.execute()
        self.ack(delivery_tag)


class Channel(RedisChannel):
    """A channel that can still acknowledge and restore after its transport was collected."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._last_connparams = super()._connparams()
        self._kept_client: Any = None
        self.no_ack_queues: set[str] = set()

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from `queue`; messages count towards the prefetch limit in every case."""
        if no_ack:
            self.no_ack_queues.add(queue)
        return super().basic_consume(queue, False, *args, **kwargs)

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
