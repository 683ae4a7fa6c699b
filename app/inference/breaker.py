"""API process. A circuit breaker: after a failure, leave something alone for a while."""

import threading
import time
from collections.abc import Callable

OPEN_S = 1.0


class Breaker:
    """Closed until `trip`, then open for `open_s` seconds; safe for several threads."""

    def __init__(self, open_s: float = OPEN_S, now: Callable[[], float] = time.monotonic) -> None:
        self._open_s = open_s
        self._now = now
        self._lock = threading.Lock()
        self._open_until = float("-inf")

    @property
    def is_closed(self) -> bool:
        """Whether an attempt may be made."""
        return self._now() >= self._open_until

    def trip(self) -> bool:
        """Open; whether it was closed before."""
        with self._lock:
            was_closed = self.is_closed
            self._open_until = self._now() + self._open_s
            return was_closed
