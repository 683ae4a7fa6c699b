"""Worker process. Ends a worker that hangs, so that it is started again.

Threads know no time limits, and a worker that takes no more tasks still answers every ping: health
is progress. The process ends without clean-up, because what hangs would hang the clean-up too; the
unacknowledged message is delivered again after the visibility timeout.
"""

import faulthandler
import logging
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from app.loop import Loop
from app.settings import Worker

logger = logging.getLogger(__name__)

EXIT_HUNG = 70
# What keeps Python's lock, as a regular expression that backtracks without end does, keeps it from
# the watchdog too. A thread without Python ends the process so much later, with this.
EXIT_LOCKED = 1
LOCKED_S = 5.0
REARM_S = 1.0


class Slots(Protocol):
    """What the watchdog looks at; `tasks.pool.TaskPool` has it. Times are monotonic seconds."""

    @property
    def has_free_slot(self) -> bool:
        """Whether another task could run now."""
        ...

    @property
    def oldest_started_at(self) -> float | None:
        """When the task that runs longest was started."""
        ...

    @property
    def last_taken_at(self) -> float:
        """When a task was last started."""
        ...


class Watchdog:
    """Looks whether tasks end, and whether waiting work is taken.

    `waiting` counts the messages in the queues that this worker consumes now; where it raises,
    nothing is known of the queues, and that is not the worker's fault. `last_words` is called
    before the process is ended; it must not hang.
    """

    def __init__(
        self,
        slots: Slots,
        limits: Worker,
        waiting: Callable[[], int],
        now: Callable[[], float] = time.monotonic,
        last_words: Callable[[], None] = lambda: None,
    ) -> None:
        self._last_words = last_words
        self._slots, self._limits, self._waiting, self._now = slots, limits, waiting, now
        self._stalled_since: float | None = None

    @property
    def every_s(self) -> float:
        """How often to look, so that a limit is overrun by a quarter at most."""
        return min(1.0, self._limits.hard_limit_s / 4, self._limits.stall_limit_s / 4)

    def step(self) -> None:
        """Look once, and end the process where it hangs."""
        reason = self.verdict()
        if reason is None:
            return
        try:
            self._last_words()
        except Exception as error:  # noqa: BLE001 - nothing may keep the process
            logger.warning("no last words", extra={"cause": repr(error)})
        end_process(reason)

    def verdict(self) -> str | None:
        """Why this process has to end, or None."""
        started_at = self._slots.oldest_started_at
        if started_at is not None and self._now() - started_at > self._limits.hard_limit_s:
            return f"a task runs longer than worker.hard_limit_s = {self._limits.hard_limit_s:g}"
        try:
            is_idle = self._slots.has_free_slot and self._waiting() > 0
        except Exception:
            self._stalled_since = None
            raise
        if not is_idle:
            self._stalled_since = None
            return None
        since = max(self._stalled_since or self._now(), self._slots.last_taken_at)
        self._stalled_since = since
        limit_s = self._limits.stall_limit_s
        if self._now() - since > limit_s:
            return f"work waits, and none was taken in worker.stall_limit_s = {limit_s:g}"
        return None


def end_when_locked(limits: Worker) -> Loop:
    """Ends the process, with `EXIT_LOCKED`, once it has no turn for longer than a task may take."""
    limit_s = limits.hard_limit_s + LOCKED_S

    def put_off() -> None:
        faulthandler.dump_traceback_later(limit_s, exit=True, file=sys.__stderr__ or 2)

    return Loop("lock", put_off, REARM_S)


def end_process(reason: str) -> None:
    """Write what every thread is doing to standard error, and exit with `EXIT_HUNG` at once."""
    logger.critical("worker hangs and ends itself", extra={"reason": reason})
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    os._exit(EXIT_HUNG)
