"""API process. One timer for the many waits of an event loop that may all last equally long.

A timer of its own for each of thousands that wait costs more than the rest of waiting, and nearly
all of them are cancelled.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Expiry(Generic[T]):
    """Calls `expire` with each wait that has not ended `limit_s` seconds after it began.

    For `loop` and its thread alone.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limit_s: float, expire: Callable[[T], object]
    ) -> None:
        self.loop = loop
        self._limit_s = limit_s
        self._expire = expire
        # When each began, by the clock of the loop; who waits longest comes first.
        self._waiting: dict[T, float] = {}
        self._is_looking = False

    def begin(self, wait: T) -> None:
        """`wait` begins now."""
        self._waiting[wait] = self.loop.time()
        if not self._is_looking:
            self._look()

    def end(self, wait: T) -> bool:
        """It has ended; whether it did so in time."""
        return self._waiting.pop(wait, None) is not None

    def _look(self) -> None:
        now = self.loop.time()
        self._is_looking = True
        while self._waiting:
            wait, since = next(iter(self._waiting.items()))
            left_s = since + self._limit_s - now
            if left_s > 0:
                self.loop.call_later(left_s, self._look)
                return
            del self._waiting[wait]
            self._expire(wait)
        self._is_looking = False
