"""Worker process. The thread pool: every request ends, and its slot is free again, whatever it did.

Celery's own `threads` pool forgets a request whose exception escapes the tracer (MemoryError,
SystemExit, a result that cannot be stored): nothing acknowledges it, its slot is lost for ever, and
a worker with one slot never takes a task again while it still answers pings.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.concurrency import thread

logger = logging.getLogger(__name__)


class TaskPool(thread.TaskPool):
    """Celery's thread pool with the above mended; it knows since when its slots are busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._started_at: dict[object, float] = {}
        self.last_taken_at = time.monotonic()

    @property
    def has_free_slot(self) -> bool:
        """Whether another task could run now."""
        return len(self._started_at) < int(self.limit)

    @property
    def oldest_started_at(self) -> float | None:
        """Monotonic seconds at which the task that runs longest was started; None when idle."""
        return min(list(self._started_at.values()), default=None)

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        **callbacks: Any,
    ) -> thread.ApplyResult:
        """Run `target` in a thread; Celery's callbacks learn how it went in every case."""
        future = self.executor.submit(self._run, target, args or (), kwargs or {}, callbacks)
        return thread.ApplyResult(future)

    def _run(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        callbacks: dict[str, Any],
    ) -> None:
        request, started_at = object(), time.monotonic()
        self._started_at[request] = self.last_taken_at = started_at
        try:
            if accept := callbacks.get("accept_callback"):
                accept(os.getpid(), started_at)
            outcome = target(*args, **kwargs)
            if done := callbacks.get("callback"):
                done(outcome)
        except BaseException as error:  # noqa: BLE001 - whatever escapes here would cost the slot
            _give_up(error, callbacks.get("error_callback"))
        finally:
            del self._started_at[request]


def _give_up(error: BaseException, failed: Callable[[ExceptionInfo], None] | None) -> None:
    kind = type(error).__name__
    logger.error("request escaped the tracer", exc_info=error, extra={"kind": kind})
    if failed is None:
        return
    try:
        raise WorkerLostError(kind) from None
    except WorkerLostError:
        lost = ExceptionInfo()
    try:
        failed(lost)
    except Exception:  # the acknowledgement was sent first, only the result is missing
        logger.exception("the failure could not be recorded")
