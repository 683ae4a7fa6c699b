"""Worker process. What control commands ask for, carried out beside the loop that loads models.

A command's handler returns at once, and a model that takes long to load must not hold up a swap.
"""

import logging
import time
from collections import deque
from collections.abc import Callable

import redis

from app.errors import ServingError
from app.loop import Loop

logger = logging.getLogger(__name__)

# What came of so many requests is remembered.
MAX_OUTCOMES = 10
# Every worker gets a broadcast, and the first one does what it asks for. One that comes to it late
# must not undo what was asked for since.
MAX_AGE_S = 2.0
EVERY_S = 3600.0


class Requests:
    """Calls what it is asked to, one after the other, in a thread of its own."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked: deque[tuple[float, str, Callable[[], str]]] = deque()
        self._outcomes: deque[dict[str, str]] = deque(maxlen=MAX_OUTCOMES)
        self._loop = Loop("requests", self.carry_out, EVERY_S)

    def start(self) -> None:
        """Start the thread; once."""
        self._loop.start()

    def stop(self) -> None:
        """End after the running request."""
        self._loop.stop()

    def ask(self, what: str, change: Callable[[], str]) -> None:
        """Have `change`, which may write to Redis, called soon; returns at once.

        What it returns or raises becomes one of `outcomes`.
        """
        self._asked.append((self._now(), what, change))
        self._loop.nudge()

    def outcomes(self) -> list[dict[str, str]]:
        """What came of the last requests, the oldest first."""
        return list(self._outcomes)

    def carry_out(self) -> None:
        """Call what was asked for until now."""
        while self._asked:
            asked_at, what, change = self._asked.popleft()
            try:
                is_late = self._now() - asked_at > MAX_AGE_S
                outcome = "refused: it is too old" if is_late else change()
            except (ServingError, redis.RedisError) as error:
                outcome = f"refused: {error}"
            if outcome.startswith("refused"):
                logger.warning("request refused", extra={"request": what, "cause": outcome})
            self._outcomes.append({"request": what, "outcome": outcome})
