"""Shared. The result backend: replies to a waiting API process go straight into its mailbox.

A task whose `reply_to` names a mailbox (a Redis list, one per API process) has its outcome pushed
there at once and stored nowhere else. Every other result takes Celery's normal way, so
`AsyncResult` and Flower see it as usual. A list, not pub/sub, so that a reply outlives a short
disconnection of its reader; and it expires, so that a reader which died leaves nothing behind.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import redis
from celery.backends.redis import RedisBackend
from celery.exceptions import BackendStoreError
from celery.states import READY_STATES

from app.contract import MAILBOX_PREFIX

logger = logging.getLogger(__name__)

MAILBOX_TTL_S = 60
COMMANDS_EACH = 2


class Reply(msgspec.Struct, frozen=True):
    """One entry of a mailbox: what became of one task.

    `result` is the task's return value, or, in a state other than SUCCESS, Celery's description of
    the exception (type, module, arguments).
    """

    task_id: str
    state: str
    result: Any


class ReplyWriter:
    """Puts replies into mailboxes over one connection; for any threads.

    What Redis answers is read before the next reply is written: a worker that waited for it would
    stand still for a seventh of its time. Until then a reply is kept, and written again where the
    connection was lost; a mailbox drops what it got twice.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._connection: Any = None
        self._lock = threading.Lock()
        self._unconfirmed: list[tuple[str, bytes]] = []
        self._unread = 0

    def write(self, mailbox: str, reply: bytes) -> None:
        """Raises redis errors, and may then be called again."""
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            again = self._confirm()
            self._renew()
            entries = [*again, (mailbox, reply)]
            # Where sending fails, this reply is the caller's to repeat.
            self._unconfirmed, self._unread = again, 0
            self._send(entries)
            self._unconfirmed, self._unread = entries, COMMANDS_EACH * len(entries)

    def _confirm(self) -> list[tuple[str, bytes]]:
        """What has to be written again."""
        # Whatever interrupts this, what is unconfirmed stays so.
        unread, self._unread = self._unread, 0
        if not unread:
            return self._unconfirmed
        for _ in range(unread):
            try:
                self._connection.read_response()
            except redis.ResponseError as error:
                # Nothing that the same command could mend. The chunk is sent again.
                logger.error("reply refused by Redis", extra={"kind": type(error).__name__})
            except (redis.RedisError, OSError):
                self._connection.disconnect()
                return self._unconfirmed
        return []

    def _renew(self) -> None:
        """Let go of a connection that Redis has closed: what is sent into it is lost silently."""
        try:
            is_fit = not self._connection.can_read(0)
        except redis.ConnectionError:
            is_fit = False
        if not is_fit:
            self._connection.disconnect()

    def _send(self, entries: list[tuple[str, bytes]]) -> None:
        commands: list[tuple[Any, ...]] = []
        for mailbox, reply in entries:
            commands += [("RPUSH", mailbox, reply), ("EXPIRE", mailbox, MAILBOX_TTL_S)]
        packed = self._connection.pack_commands(commands)
        try:
            self._connection.send_packed_command(packed)
        except redis.ConnectionError:
            # It was lost while nobody used it; sending connects anew.
            self._connection.send_packed_command(packed)


class MailboxBackend(RedisBackend):
    """Celery's Redis backend, which also delivers to mailboxes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._replies = ReplyWriter(lambda: self.client.connection_pool.get_connection())

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe to nothing: a caller that polls subscribes when it starts to wait."""

    def store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: Any = None,
        request: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Deliver to the mailbox that the request names, or store as Celery does."""
        mailbox = getattr(request, "reply_to", None) or ""
        if not mailbox.startswith(MAILBOX_PREFIX):
            return super().store_result(task_id, result, state, traceback, request, **kwargs)
        encoded = self.encode_result(result, state)
        if state in READY_STATES:
            reply = msgspec.json.encode(Reply(task_id, state, encoded))
            self._ensure_retryable(
                self._replies.write,
                mailbox,
                reply,
                fallback_exc=partial(BackendStoreError, task_id=task_id, state=state),
                fallback_msg="failed to deliver a reply",
            )
        return encoded
