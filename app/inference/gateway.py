"""API process. Carries chunks to the workers' queues and their results back.

Whoever serves a request never touches Redis. The coalescer's sender thread calls `submit`, which
publishes; one receiver thread reads this process's mailbox, one watcher thread looks at the fleet;
both start on first use. A chunk whose worker was lost is sent once more: predicting is idempotent.
Invariant: every future handed out is resolved or cancelled, also on `close`.
"""

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import msgspec
import redis
from celery.states import SUCCESS
from kombu.exceptions import OperationalError

from app import fleet
from app.broker import make_celery, redis_client
from app.clock import RedisClock
from app.contract import (
    MAILBOX_PREFIX,
    PREDICT_QUEUES,
    Chunk,
    ChunkResult,
)
from app.errors import BrokerUnavailable, ModelUnavailable, ShuttingDown
from app.fleet import Fleet
from app.inference import replies
from app.inference.pending import Pending, Sent, expired
from app.inference.publisher import Publisher
from app.logs import request_scope
from app.loop import Loop
from app.mailbox import Reply
from app.settings import Settings
from app.tracing.requests import RequestTracing

logger = logging.getLogger(__name__)

# Also how often lost chunks are looked for, at least.
RECEIVE_BLOCK_S = 0.1
WATCH_S = 1.0
# Without a worker every caller is refused: the first one should be seen soon.
WATCH_NOBODY_S = 0.1
# Callers wait for what is looked at.
RETRY_S = 0.2


class Gateway(Protocol):
    """What the API needs of whatever computes predictions."""

    def now(self) -> float:
        """Seconds of the Redis server's clock, in which deadlines are given."""
        ...

    def submit(self, chunk: Chunk, device: str) -> Future[ChunkResult]:
        """Send `chunk` to the queue of `device` ("cpu" or "gpu"); may block for a socket timeout.

        Raises `BrokerUnavailable`; the future raises a `ServingError` where there is no result.
        Cancel it to forget the chunk.
        """
        ...

    def fleet(self) -> Fleet:
        """The last look at the fleet, about a second old."""
        ...

    def nudge(self) -> None:
        """Have the workers look at what should be held, and look at them, now; best effort.

        Returns when `fleet` is a look that began after the call.
        """
        ...

    def close(self) -> None:
        """Stop the threads and fail what is still waiting."""
        ...


def _scope(sent: Sent) -> request_scope:
    """What is logged belongs to this chunk, and to the requests in it."""
    chunk = sent.chunk
    return request_scope(*chunk.request_ids, chunk_id=sent.task_id, ref=chunk.ref)


class CeleryGateway:
    """The gateway to real workers; chunks have spans where there is `tracing`."""

    def __init__(self, settings: Settings, tracing: RequestTracing | None = None) -> None:
        self._settings = settings
        self._tracing = tracing
        self._celery = make_celery(settings, "api")
        self._mailbox = MAILBOX_PREFIX + uuid.uuid4().hex
        self._clock = RedisClock()
        self._pending = Pending(self._clock.now)
        self._publisher = Publisher(self._celery, self._mailbox, self._clock.now)
        self._fleet = Fleet(reachable=False, reason="not looked at yet")
        self._looked = threading.Event()
        self._looks_begun = self._looks_ended = 0
        self._looking = threading.Condition()
        self._closed = threading.Event()
        self._start_lock = threading.Lock()
        self._has_started = False
        timeout_s = RECEIVE_BLOCK_S + settings.redis.socket_timeout_s
        self._receiving = self._loop("receiver", self._receive, 0, timeout_s)
        self._watching = self._loop("watcher", self._watch, WATCH_S)

    def now(self) -> float:
        """Redis server seconds; `BrokerUnavailable` while Redis was never reached."""
        self.fleet()
        return self._clock.now()

    def submit(self, chunk: Chunk, device: str) -> Future[ChunkResult]:
        """Publish `chunk`, and return the future of its result."""
        self._start()
        sent = self._pending.add(chunk, PREDICT_QUEUES[device])
        try:
            # Looked at after `add`: what is added later is not seen by `close`.
            if self._closed.is_set():
                raise ShuttingDown()
            if self._tracing is not None:
                sent.headers = self._tracing.chunk(chunk, sent.task_id, sent.queue, sent.future)
            self._publish(sent)
        except (BrokerUnavailable, ShuttingDown):
            sent.future.cancel()
            raise
        return sent.future

    def fleet(self) -> Fleet:
        """The watcher's last look; blocks until the first one."""
        if not self._looked.is_set():
            self._start()
            self._looked.wait(2 * self._settings.redis.socket_timeout_s)
        return self._fleet

    def nudge(self) -> None:
        """Broadcast `reconcile`; workers that miss it look every two seconds by themselves."""
        with suppress(redis.RedisError, OperationalError, OSError):
            self._celery.control.broadcast("reconcile")
        self._start()
        with self._looking:
            # A look that is under way may have missed what the caller knows; the next one will not.
            next_look = self._looks_begun + 1
            self._watching.nudge()
            self._looking.wait_for(
                lambda: self._looks_ended >= next_look or self._closed.is_set(),
                2 * self._settings.redis.socket_timeout_s,
            )

    def close(self) -> None:
        """Stop the threads; what still waits fails with `ShuttingDown`."""
        self._closed.set()
        loops = (self._receiving, self._watching)
        for loop in loops:
            loop.stop()
        for loop in loops:
            loop.join()
        for sent in self._pending.all():
            sent.resolve(ShuttingDown())
        self._publisher.close()

    def _start(self) -> None:
        if self._has_started:
            return
        with self._start_lock:
            if self._has_started or self._closed.is_set():
                return
            self._receiving.start()
            self._watching.start()
            self._has_started = True

    def _publish(self, sent: Sent) -> None:
        with _scope(sent):
            logger.debug("chunk sent")
            try:
                self._publisher.publish(sent)
            except BrokerUnavailable:
                self._watching.nudge()
                raise

    def _loop(
        self,
        name: str,
        step: Callable[["redis.Redis"], float | None],
        every_s: float,
        timeout_s: float | None = None,
    ) -> Loop:
        client = redis_client(self._settings, timeout_s)
        return Loop(name, partial(step, client), every_s, client.close, RETRY_S)

    def _receive(self, client: "redis.Redis") -> None:
        self._look_after_unanswered()
        # A chunk that is sent again only when another one lands would always come before its
        # successor, and to the worker that refuses: that one waits in front.
        timeout_s = self._pending.quiet_s(RECEIVE_BLOCK_S)
        popped: Any = client.blpop([self._mailbox], timeout=timeout_s)
        if popped is not None:
            self._deliver(popped[1])

    def _deliver(self, raw: bytes) -> None:
        try:
            reply = msgspec.json.decode(raw, type=Reply)
        except ValueError as error:
            # Whose it is cannot be told: that chunk is sent again.
            logger.error("reply not readable", extra={"kind": type(error).__name__})
            return
        # A reply nobody waits for any more finds no entry and is dropped.
        sent = self._pending.answered(reply.task_id, reply.state == SUCCESS)
        if sent is None:
            return
        with _scope(sent):
            outcome = replies.outcome(reply, sent.chunk, self._celery.backend)
            if not (isinstance(outcome, ModelUnavailable) and self._goes_elsewhere(sent)):
                sent.resolve(outcome)

    def _goes_elsewhere(self, sent: Sent) -> bool:
        # One worker could not load what others hold: it must not answer for them.
        seen, queue = self._fleet, sent.queue
        takers = sum(queue in host.queues for host in seen.hosts)
        return bool(seen.holders(sent.chunk.ref, queue)) and self._pending.refused(sent, takers)

    def _look_after_unanswered(self) -> None:
        for sent in self._pending.overdue():
            sent.resolve(expired(sent.chunk))
        again = self._pending.lost()
        while again:
            with _scope(again[0]):
                try:
                    self._publish(again[0])
                except BrokerUnavailable:
                    self._pending.put_back(again)
                    return
                logger.info("chunk sent again")
            del again[0]

    def _watch(self, client: "redis.Redis") -> float | None:
        with self._looking:
            self._looks_begun += 1
        try:
            self._clock.sync(client)
            self._fleet = fleet.read(client)
        except (redis.RedisError, OSError):
            self._fleet = Fleet(reachable=False, reason="Redis cannot be reached")
            raise
        finally:
            self._looked.set()
            with self._looking:
                self._looks_ended = self._looks_begun
                self._looking.notify_all()
        return None if self._fleet.hosts else WATCH_NOBODY_S
