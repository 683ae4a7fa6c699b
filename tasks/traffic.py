"""Worker process. Brings what this process has counted to the windows that all workers share."""

from collections import Counter
from collections.abc import Callable

import redis

from app.inference.traffic import Traffic
from app.loop import Loop
from app.monitoring.drift.windows import Windows

REPORT_S = 2.0
JOIN_S = 2.0


class TrafficReport:
    """A thread that adds up counts in Redis every two seconds.

    What cannot be brought there is dropped and counted: after a broken connection nobody knows
    whether it arrived, and texts that count twice look like a change.
    """

    def __init__(self, traffic: Traffic, windows: Windows, now: Callable[[], float]) -> None:
        self._traffic, self._windows, self._now = traffic, windows, now
        self._dropped: Counter[str] = Counter()
        self._loop = Loop("traffic", self.step, REPORT_S, at_end=self.step)

    def start(self) -> None:
        """Start the thread."""
        self._loop.start()

    def stop(self) -> None:
        """Bring what is left, and end the thread."""
        self._loop.stop()
        self._loop.join(JOIN_S)

    def step(self) -> None:
        """Bring what was counted since the last step; raises redis errors."""
        taken = self._traffic.take()
        if taken:
            try:
                self._windows.add(self._now(), {key: row.counts for key, row in taken.items()})
            except redis.RedisError:
                for row in taken.values():
                    self._dropped[row.ref] += row.texts
                raise
        if self._dropped:
            self._windows.drop(self._dropped)
            self._dropped.clear()
