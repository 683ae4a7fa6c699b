"""Worker process. The thread pool: every request ends, and its slot is free again, whatever it did.

A chunk of a job runs beside those that somebody waits for, not in their place (`app.transport`):
there is a second thread for each slot.

Celery's own `threads` pool forgets a request whose exception escapes the tracer (MemoryError,
SystemExit, a result that cannot be stored): nothing acknowledges it, its slot is lost for ever, and
a worker with one slot never takes a task again while it still answers pings.

The way into a thread and back costs a small chunk more than its predictions do. Where there is one
slot, chunks that were quick so far run in the thread that took them, as in Celery's `solo` pool.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.concurrency import thread

from app.contract import JOB_QUEUES, PREDICT_CHUNK

logger = logging.getLogger(__name__)

# Control commands and timers wait so long, at most, for a chunk that runs in their thread.
MAX_INLINE_S = 0.05
# Of the threads that compute jobs. Answers beside a job come in little more than half the time that
# they take with 0, because the API and Redis need not wait for a core.
NICENESS = 10


class TaskPool(thread.TaskPool):
    """Celery's thread pool with the above mended; it knows since when its slots are busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._behind = ThreadPoolExecutor(int(self.limit), "behind", initializer=_stand_back)
        self._started_at: dict[object, float] = {}
        self._last_chunk_s = float("inf")
        self.last_taken_at = time.monotonic()

    @property
    def has_free_slot(self) -> bool:
        """Whether another task could run now."""
        return len(self._started_at) < int(self.limit)

    @property
    def oldest_started_at(self) -> float | None:
        """Monotonic seconds at which the task that runs longest was started; None when idle."""
        return min(list(self._started_at.values()), default=None)

    def on_stop(self) -> None:
        """Wait for what runs."""
        self._behind.shutdown(cancel_futures=True)
        super().on_stop()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        **callbacks: Any,
    ) -> thread.ApplyResult | None:
        """Run `target`; Celery's callbacks learn how it went in every case.

        None where it ran here: then there is nothing to wait for.
        """
        args = args or ()
        call = (target, args, kwargs or {}, callbacks)
        # What Celery's tracer is called with begins with the name of the task.
        if args[:1] == (PREDICT_CHUNK,):
            return self._apply_chunk(call)
        executor = self._behind if _is_bulk(args) else self.executor
        return thread.ApplyResult(executor.submit(self._run, *call))

    def _apply_chunk(self, call: tuple[Any, ...]) -> thread.ApplyResult | None:
        if self.limit == 1 and self._last_chunk_s < MAX_INLINE_S:
            self._run_chunk(*call)
            return None
        return thread.ApplyResult(self.executor.submit(self._run_chunk, *call))

    def _run_chunk(self, *call: Any) -> None:
        started_at = time.monotonic()
        try:
            self._run(*call)
        finally:
            self._last_chunk_s = time.monotonic() - started_at

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


def _is_bulk(args: tuple[Any, ...]) -> bool:
    """Whether nobody waits for this request; its message's headers are the third argument."""
    headers = args[2] if len(args) > 2 and isinstance(args[2], dict) else {}
    return (headers.get("delivery_info") or {}).get("routing_key") in JOB_QUEUES.values()


def _stand_back() -> None:
    """Let the system run other threads and processes first, the API and Redis included."""
    # Elsewhere it would be the whole process that stands back.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


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
