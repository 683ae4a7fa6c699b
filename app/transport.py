"""Shared. The Redis transport of kombu, made to survive a lost connection, and cheaper.

In kombu 5.7.0 a worker exits with "'NoneType' object has no attribute 'hostname'" when Redis drops
its connection while a message is unacknowledged and a BRPOP is outstanding: the consumer clears
`transport.client` before it closes the channel, and restoring the unacknowledged message then asks
the cleared client for its address. The channel below remembers its parameters instead.

kombu also makes a new `redis.Redis` for every publish and every acknowledgement, on the same
connection pool; building one costs more than the command. The channel keeps one as long as its
pool lives.

And a queue declared `no_ack` is meant: kombu would let a worker take messages of it without bound,
and still write to Redis when they are acknowledged. Here they count towards the prefetch limit, in
this process alone: two round trips less for each. They are those that somebody waits for: messages
of other queues have a prefetch limit of their own, so that they never stand in the way.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kombu.transport import redis, virtual
from kombu.transport.redis import Channel as RedisChannel
from kombu.utils.scheduling import priority_cycle
from redis.exceptions import NoPermissionError, ResponseError

from app.contract import PREDICT_QUEUES


class QoS(redis.QoS):
    """Counts the messages of `no_ack` queues and those of others, and tells Redis of the latter.

    Others are taken only where another of the former could be taken too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._untold: set[str] = set()
        self._told: set[str] = set()

    def can_consume(self) -> bool:
        """Whether a message of a `no_ack` queue may be taken."""
        return not self.prefetch_count or len(self._untold) < self.prefetch_count

    def can_consume_others(self) -> bool:
        """Whether a message of another queue may be taken beside those."""
        return not self.prefetch_count or len(self._told) < self.prefetch_count

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message until it is acknowledged or rejected."""
        if message.delivery_info["routing_key"] in self.channel.no_ack_queues:
            self._untold.add(delivery_tag)
            virtual.QoS.append(self, message, delivery_tag)
        else:
            self._told.add(delivery_tag)
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """The message is done."""
        if delivery_tag in self._untold:
            self._untold.discard(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)
            self._let_go_of(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """The message is refused; with `requeue`, the next in line will get it."""
        if delivery_tag not in self._untold:
            super().reject(delivery_tag, requeue)
            self._let_go_of(delivery_tag)
            return
        if requeue:
            message = self.get(delivery_tag)
            where = message.delivery_info["exchange"], message.delivery_info["routing_key"]
            with self.pipe_or_acquire() as pipe:
                self.channel._do_restore_message(message._raw, *where, pipe, leftmost=True)
                pipe.execute()
        self.ack(delivery_tag)

    def _let_go_of(self, delivery_tag: str) -> None:
        if delivery_tag in self._told:
            self._told.discard(delivery_tag)
            self.channel.look_again()


class OpenQueues(priority_cycle):
    """The queues of a channel that messages may be taken from now, in their order."""

    def __init__(self, channel: "Channel") -> None:
        super().__init__()
        self._channel = channel

    def consume(self, n: int) -> list[str]:
        """All of them, or those that are `no_ack`."""
        queues: list[str] = super().consume(n)
        if self._channel.qos.can_consume_others():
            return queues
        return [queue for queue in queues if queue in self._channel.no_ack_queues]


class Channel(RedisChannel):
    """A channel that can still acknowledge and restore after its transport was collected."""

    QoS = QoS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.no_ack_queues: set[str] = set()
        super().__init__(*args, **kwargs)
        self._queue_cycle = OpenQueues(self)
        self._last_connparams = super()._connparams()
        self._kept_client: Any = None
        # The socket that BRPOP is sent over, and what Redis calls it.
        self._known: tuple[Any, int | None] = (None, None)

    def basic_consume(self, queue: str, no_ack: bool, *args: Any, **kwargs: Any) -> Any:
        """Consume from `queue`; chunks count towards the prefetch limit in every case."""
        # Nobody acknowledges control messages and their replies: counted, they would stay for ever.
        if no_ack and queue in PREDICT_QUEUES.values():
            self.no_ack_queues.add(queue)
            no_ack = False
        return super().basic_consume(queue, no_ack, *args, **kwargs)

    def look_again(self) -> None:
        """End a wait for messages that does not include all queues that it could include now."""
        if self._in_poll and (number := self._known[1]) is not None:
            with self.conn_or_acquire() as client:
                try:
                    client.client_unblock(number)
                except NoPermissionError:
                    self._known = (self._known[0], None)

    def _brpop_start(self, timeout: float | None = None) -> None:
        connection = self.client.connection
        if connection._sock is None or connection._sock is not self._known[0]:
            connection.send_command("CLIENT", "ID")
            self._known = (connection._sock, _number(connection))
        super()._brpop_start(timeout)

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


def _number(connection: Any) -> int | None:
    try:
        return int(connection.read_response())
    except ResponseError:
        # Not allowed to ask, or to unblock: a wait then ends by itself, after a second.
        return None


class Transport(redis.Transport):
    """kombu's Redis transport with the channel above."""

    Channel = Channel
