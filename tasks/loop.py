"""Worker process. A thread that repeats one step, on time and whenever it is nudged."""

import logging
import threading
from collections.abc import Callable

import redis

logger = logging.getLogger(__name__)

RETRY_S = 0.5


class Loop:
    """Calls `step` at once, then every `every_s` seconds and after a `nudge`, until `stop`.

    A step may return in how many seconds it wants to be called next.
    A step that raises is logged, once for each kind of error in a row, and tried again soon.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], float | None],
        every_s: float,
        at_end: Callable[[], None] | None = None,
    ) -> None:
        self._step, self._every_s, self._at_end = step, every_s, at_end
        self._retry_s = min(every_s, RETRY_S)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._failing: type[BaseException] | None = None

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

    def join(self, timeout_s: float) -> None:
        """Wait for the end, which also comes when the loop was never started."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopping.is_set():
            wanted_s = self._attempt(self._step)
            every_s = self._every_s if wanted_s is None else wanted_s
            self._wake.wait(every_s if self._failing is None else self._retry_s)
            self._wake.clear()
        if self._at_end is not None:
            self._attempt(self._at_end)

    def _attempt(self, step: Callable[[], float | None]) -> float | None:
        try:
            wanted_s = step()
            self._failing = None
            return wanted_s
        except Exception as error:
            # Whatever it is: a thread that ends would end silently.
            if self._failing is not type(error):
                # A Redis that is away is told in one line.
                trace = None if isinstance(error, redis.RedisError) else error
                details = {"loop": self._thread.name, "cause": repr(error)}
                logger.warning(
                    "background step failed, trying again", exc_info=trace, extra=details
                )
            self._failing = type(error)
            return None
