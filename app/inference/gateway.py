"""API process. Carries chunks to the workers' queues and their results back.

Request threads never touch Redis: `submit` returns a plain future. One sender thread publishes, one
receiver thread reads this process's mailbox, one watcher thread looks at the fleet; all three start
on first use. Invariant: every future handed out is resolved or cancelled, also on `close`.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol

import msgspec
import redis
from celery.states import SUCCESS
from kombu.exceptions import OperationalError

from app import fleet
from app.broker import make_celery, redis_client
from app.clock import RedisClock
from app.contract import MAILBOX_PREFIX, PREDICT_CHUNK, PREDICT_QUEUES, Chunk, ChunkResult
from app.errors import BrokerUnavailable, ServingError
from app.fleet import Fleet
from app.mailbox import Reply
from app.settings import Settings

logger = logging.getLogger(__name__)

RECEIVE_BLOCK_S = 1.0
MAX_REPLIES_PER_READ = 256
WATCH_S = 1.0
RETRY_S = 0.2


class Gateway(Protocol):
    """What the API needs of whatever computes predictions."""

    def now(self) -> float:
        """Seconds of the Redis server's clock, in which deadlines are given."""
        ...

    def submit(self, chunk: Chunk, device: str) -> Future[ChunkResult]:
        """Send `chunk` to the queue of `device` ("cpu" or "gpu"); cancel the future to forget it.

        The future raises a `ServingError` where there is no result.
        """
        ...

    def fleet(self) -> Fleet:
        """The last look at the fleet, about a second old."""
        ...

    def close(self) -> None:
        """Stop the threads and fail what is still waiting."""
        ...


class Parcel(NamedTuple):
    """A chunk on its way to the sender."""

    task_id: str
    chunk: Chunk
    queue: str


@contextmanager
def broker_errors() -> Iterator[None]:
    """Turn what redis, kombu and sockets raise into `BrokerUnavailable`, here and nowhere else."""
    try:
        yield
    except (redis.RedisError, OperationalError, OSError) as error:
        raise BrokerUnavailable() from error


class CeleryGateway:
    """The gateway to real workers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._celery = make_celery(settings, "api")
        self._mailbox = MAILBOX_PREFIX + uuid.uuid4().hex
        self._clock = RedisClock()
        self._outbox: SimpleQueue[Parcel | None] = SimpleQueue()
        self._pending: dict[str, Future[ChunkResult]] = {}
        self._fleet = Fleet(reachable=False, reason="not looked at yet")
        self._looked = threading.Event()
        self._look_again = threading.Event()
        self._closed = threading.Event()
        self._start_lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def now(self) -> float:
        """Redis server seconds; `BrokerUnavailable` while Redis was never reached."""
        self.fleet()
        return self._clock.now()

    def submit(self, chunk: Chunk, device: str) -> Future[ChunkResult]:
        """Queue `chunk` for the sender and return at once."""
        self._start()
        task_id = str(uuid.uuid4())
        future: Future[ChunkResult] = Future()
        self._pending[task_id] = future
        future.add_done_callback(lambda _: self._pending.pop(task_id, None))
        self._outbox.put(Parcel(task_id, chunk, PREDICT_QUEUES[device]))
        return future

    def fleet(self) -> Fleet:
        """The watcher's last look; waits for the first one."""
        self._start()
        self._looked.wait(2 * self._settings.redis.socket_timeout_s)
        return self._fleet

    def close(self) -> None:
        """Stop the threads; what still waits fails with `BrokerUnavailable`."""
        self._closed.set()
        self._look_again.set()
        self._outbox.put(None)
        for thread in self._threads:
            thread.join()
        for task_id in list(self._pending):
            self._resolve(task_id, BrokerUnavailable())

    def _start(self) -> None:
        if self._threads:
            return
        with self._start_lock:
            if self._threads or self._closed.is_set():
                return
            loops = (self._send_loop, self._receive_loop, self._watch_loop)
            threads = [threading.Thread(target=loop, daemon=True) for loop in loops]
            for thread in threads:
                thread.start()
            self._threads = threads

    def _resolve(self, task_id: str, outcome: ChunkResult | ServingError) -> None:
        # A reply nobody waits for any more finds no entry here and is dropped.
        future = self._pending.pop(task_id, None)
        if future is None or not future.set_running_or_notify_cancel():
            return
        if isinstance(outcome, ServingError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _send_loop(self) -> None:
        producer: Any = None
        while (parcel := self._outbox.get()) is not None:
            future = self._pending.get(parcel.task_id)
            if future is None or future.cancelled():
                continue
            try:
                with broker_errors():
                    producer = producer or self._producer()
                    self._publish(parcel, producer)
            except BrokerUnavailable as error:
                logger.warning("publishing failed", extra={"cause": repr(error.__cause__)})
                _discard(producer)
                producer = None
                self._look_again.set()
                self._resolve(parcel.task_id, error)
        _discard(producer)

    def _producer(self) -> Any:
        return self._celery.amqp.Producer(self._celery.connection_for_write())

    def _publish(self, parcel: Parcel, producer: Any) -> None:
        self._celery.send_task(
            PREDICT_CHUNK,
            args=(parcel.chunk.to_message(),),
            task_id=parcel.task_id,
            queue=parcel.queue,
            reply_to=self._mailbox,
            producer=producer,
            retry=False,
            # Celery puts a repr of the arguments, that is the texts, into headers and events.
            argsrepr=f"<{len(parcel.chunk.texts)} texts>",
            kwargsrepr="{}",
        )

    def _receive_loop(self) -> None:
        client = redis_client(self._settings, RECEIVE_BLOCK_S + 1)
        self._repeat(lambda: self._receive(client), 0, self._closed)
        client.close()

    def _receive(self, client: "redis.Redis") -> None:
        popped: Any = client.blpop([self._mailbox], timeout=RECEIVE_BLOCK_S)
        while popped is not None:
            for raw in popped[1:] if isinstance(popped, tuple) else popped:
                self._deliver(raw)
            popped = client.lpop(self._mailbox, MAX_REPLIES_PER_READ)

    def _deliver(self, raw: bytes) -> None:
        reply = msgspec.json.decode(raw, type=Reply)
        try:
            self._resolve(reply.task_id, self._outcome(reply))
        except ServingError as error:
            self._resolve(reply.task_id, error)

    def _outcome(self, reply: Reply) -> ChunkResult | ServingError:
        if reply.state == SUCCESS:
            return ChunkResult.from_message(reply.result)
        error = self._celery.backend.exception_to_python(reply.result)
        if isinstance(error, ServingError):
            return error
        logger.error("chunk failed", extra={"task_id": reply.task_id, "kind": type(error).__name__})
        return ServingError()

    def _watch_loop(self) -> None:
        client = redis_client(self._settings)
        self._repeat(lambda: self._watch(client), WATCH_S, self._look_again)
        client.close()

    def _watch(self, client: "redis.Redis") -> None:
        try:
            self._clock.sync(client)
            self._fleet = fleet.read(client)
        except (redis.RedisError, OSError):
            self._fleet = Fleet(reachable=False, reason="Redis cannot be reached")
            raise
        finally:
            self._looked.set()

    def _repeat(self, step: Callable[[], None], every_s: float, wake: threading.Event) -> None:
        failing = False
        while not self._closed.is_set():
            try:
                step()
                failing, pause_s = False, every_s
            except Exception as error:  # noqa: BLE001 - a thread that ends would strand its callers
                if not failing:
                    logger.warning("waiting for Redis", extra={"cause": repr(error)})
                failing, pause_s = True, RETRY_S
            if pause_s and wake.wait(pause_s) and not self._closed.is_set():
                wake.clear()


def _discard(producer: Any) -> None:
    if producer is not None:
        with suppress(redis.RedisError, OperationalError, OSError):
            producer.connection.close()
