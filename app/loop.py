"""Shared. A thread that repeats one step, on time and whenever it is nudged."""

import logging
import threading
from collections.abc import Callable

import redis

from app.logs import request_scope

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class Loop:
    """Calls `step` at once, then every `every_s` seconds and after a `nudge`, until `stop`.

    A step may return in how many seconds it wants to be called next; 0 is without a pause.
    One that raises is called again after `retry_s`, or `every_s` if that is less and not 0. While
    it fails, each kind of error is logged once.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        every_s: float,
        at_end: Callable[[], None] | None = None,
        retry_s: float = RETRY_S,
    ) -> None:
        self._step, self._every_s, self._at_end = step, every_s, at_end
        self._retry_s = min(every_s or retry_s, retry_s)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._told: set[type[Exception]] = set()

    def start(self) -> None:
        """Start the thread; once."""
        self._thread.start()

    def nudge(self) -> None:
        """Make the next step come now; returns at once."""
        self._wake.set()

    def stop(self) -> None:
        """End after the running step, then call `at_end` in the thread; returns at once."""
        self._stopping.set()
        self._wake.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for the end, which also comes when the loop was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause_s = self._attempt(self._step)
            if pause_s and self._wake.wait(pause_s):
                self._wake.clear()
        if self._at_end is not None:
            self._attempt(self._at_end)

    def _attempt(self, step: Callable[[], float | None]) -> float:
        try:
            asked_s = step()
        except Exception as error:  # noqa: BLE001 - a thread that ends would end silently
            if type(error) not in self._told:
                self._tell(error)
            self._told.add(type(error))
            return self._retry_s
        self._told.clear()
        return self._every_s if asked_s is None else asked_s

    def _tell(self, error: Exception) -> None:
        sentence, details = "background step failed, trying again", {"loop": self._thread.name}
        if isinstance(error, redis.RedisError | OSError):
            # A Redis that is away is told in one line.
            logger.warning(sentence, extra=details | {"cause": repr(error)})
            return
        # In a scope only its kind and place are told: its words may be a user's.
        with request_scope():
            logger.error(sentence, exc_info=error, extra=details)
