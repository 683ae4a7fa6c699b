"""Worker process. The thread pool: every request ends, and its slot is free again, whatever it did.

Celery's own `threads` pool forgets a request whose exception escapes the tracer (MemoryError,
SystemExit, a result that cannot be stored): nothing acknowledges it, its slot is lost for ever, and
a worker with one slot never takes a task again while it still answers pings.

The way into a thread and back costs a small chunk more than its predictions do. Where there is one
slot, chunks that were quick so far run in the thread that took them, as in Celery's `solo` pool.
"""

import logging
import os
import time
from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.concurrency import thread

from app.contract import PREDICT_CHUNK

logger = logging.getLogger(__name__)

# Control commands and timers wait so long, at most, for a chunk that runs in their thread.
MAX_INLINE_S = 0.05


class TaskPool(thread.TaskPool):
    """Celery's thread pool with the above mended; it knows since when its slots are busy."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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
        # What Celery's tracer is called with begins with the name of the task.
        is_chunk = args is not None and args[:1] == (PREDICT_CHUNK,)
        run = self._run_chunk if is_chunk else self._run
        if is_chunk and self.limit == 1 and self._last_chunk_s < MAX_INLINE_S:
            run(target, args or (), kwargs or {}, callbacks)
            return None
        return thread.ApplyResult(
            self.executor.submit(run, target, args or (), kwargs or {}, callbacks)
        )

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
