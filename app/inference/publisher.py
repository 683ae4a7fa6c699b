"""API process. Puts chunks into the workers' queues, over one connection that is kept."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import OperationalError

from app.broker import broker_errors
from app.contract import PREDICT_CHUNK, SENT_AT
from app.errors import BrokerUnavailable
from app.inference.pending import Sent
from app.line_budget import LineBudget

logger = logging.getLogger(__name__)


class Publisher:
    """For any threads; `now` is the clock of deadlines, `mailbox` is where answers go."""

    def __init__(self, celery: Celery, mailbox: str, now: Callable[[], float]) -> None:
        self._celery = celery
        self._now = now
        self._lock = threading.Lock()
        self._failures = LineBudget(max_lines=1)
        self._producer: Any = None
        # Made by Celery once: most of a message is the same for every chunk.
        self._template = celery.amqp.as_task_v2(
            "", PREDICT_CHUNK, args=(), kwargs={}, reply_to=mailbox, kwargsrepr="{}"
        )

    def publish(self, sent: Sent) -> None:
        """Raises `BrokerUnavailable`; may block for a socket timeout."""
        with self._lock:
            try:
                with broker_errors():
                    self._send_or_connect(sent)
            except BrokerUnavailable as error:
                self._log(error.__cause__)
                self._drop()
                raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    def _log(self, cause: BaseException | None) -> None:
        # Redis may answer, and take nothing: every chunk fails then.
        left_out = self._failures.take(type(cause).__name__)
        if left_out is not None:
            line: dict[str, Any] = {"cause": repr(cause)}
            more = {"left_out": left_out} if left_out else {}
            logger.warning("publishing failed", extra=line | more)

    def _send_or_connect(self, sent: Sent) -> None:
        was_connected = self._producer is not None
        try:
            self._send(sent)
        except redis.ConnectionError:
            # Redis may well be there: one connection was lost, perhaps long ago. A chunk that had
            # arrived is computed twice, which harms nobody.
            if not was_connected:
                raise
            self._drop()
            self._send(sent)

    def _send(self, sent: Sent) -> None:
        if self._producer is None:
            self._producer = self._celery.amqp.Producer(self._celery.connection_for_write())
        headers, properties, (_, kwargs, embed), _ = self._template
        task_id = sent.task_id
        # Celery would put a repr of the arguments, that is the texts, into headers and events.
        own = {
            "id": task_id,
            "root_id": task_id,
            "argsrepr": f"<{len(sent.chunk.texts)} texts>",
            SENT_AT: self._now(),
        }
        self._producer.publish(
            ((sent.chunk.to_message(),), kwargs, embed),
            exchange="",
            routing_key=sent.queue,
            headers=headers | own | sent.headers,
            serializer="json",
            retry=False,
            **properties | {"correlation_id": task_id},
        )

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(redis.RedisError, OperationalError, OSError):
                producer.connection.close()
