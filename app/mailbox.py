"""Shared. The result backend: replies to a waiting API process go straight into its mailbox.

A task whose `reply_to` names a mailbox (a Redis list, one per API process) has its outcome pushed
there in one round trip and stored nowhere else. Every other result takes Celery's normal way, so
`AsyncResult` and Flower see it as usual. A list, not pub/sub, so that a reply outlives a short
disconnection of its reader; and it expires, so that a reader which died leaves nothing behind.
"""

from functools import partial
from typing import Any

import msgspec
from celery.backends.redis import RedisBackend
from celery.exceptions import BackendStoreError
from celery.states import READY_STATES

from app.contract import MAILBOX_PREFIX

MAILBOX_TTL_S = 60


class Reply(msgspec.Struct, frozen=True):
    """One entry of a mailbox: what became of one task.

    `result` is the task's return value, or, in a state other than SUCCESS, Celery's description of
    the exception (type, module, arguments).
    """

    task_id: str
    state: str
    result: Any


class MailboxBackend(RedisBackend):
    """Celery's Redis backend, which also delivers to mailboxes."""

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
            self._ensure_retryable(
                self._deliver,
                mailbox,
                Reply(task_id, state, encoded),
                fallback_exc=partial(BackendStoreError, task_id=task_id, state=state),
                fallback_msg="failed to deliver a reply",
            )
        return encoded

    def _deliver(self, mailbox: str, reply: Reply) -> None:
        with self.client.pipeline(transaction=False) as pipe:
            pipe.rpush(mailbox, msgspec.json.encode(reply))
            pipe.expire(mailbox, MAILBOX_TTL_S)
            pipe.execute()
