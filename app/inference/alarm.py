"""API process. Lets a coroutine wait for other threads, at the price of one wake-up for many.

Waking an event loop from another thread costs more than the rest of a request's way through the
coalescer: all callers of a chunk are woken together.
"""

import asyncio
import threading
from collections import deque

# After so many the loop looks at what came meanwhile: who is refused, or asks whether the process
# is alive, waits for so many answers and not for all that there are.
MAX_AT_ONCE = 64

Loop = asyncio.AbstractEventLoop


class Wakeups:
    """The futures of one event loop that others are done with: `max_at_once` in a turn of it."""

    def __init__(self, loop: Loop, max_at_once: int = MAX_AT_ONCE) -> None:
        self.loop = loop
        self._max_at_once = max_at_once
        self._call_soon = loop.call_soon_threadsafe
        self._done: deque[asyncio.Future[None]] = deque()
        self._is_called = False

    def put(self, future: "asyncio.Future[None]") -> None:
        """Finish `future` in its loop soon; from any thread."""
        self._done.append(future)
        if not self._is_called:
            self._is_called = True
            try:
                self._call_soon(self._finish)
            except RuntimeError:
                # The loop is closed: nobody waits there any more.
                self._is_called = False
                self._done.clear()

    def _finish(self) -> None:
        for _ in range(min(len(self._done), self._max_at_once)):
            finish(self._done.popleft())
        # Whoever puts from now on calls again; what was put before is looked after here.
        self._is_called = False
        if self._done and not self._is_called:
            self._is_called = True
            self.loop.call_soon(self._finish)


class Here(threading.local):
    """The wake-ups of the loop that runs in this thread; holds on to no loop but the last one."""

    wakeups: Wakeups | None = None


_here = Here()


class Alarm:
    """One-shot: one coroutine waits, any thread sets; made in the coroutine's event loop."""

    __slots__ = ("_future", "_loop", "_wakeups")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future = self._loop.create_future()
        wakeups = _here.wakeups
        if wakeups is None or wakeups.loop is not self._loop:
            wakeups = _here.wakeups = Wakeups(self._loop)
        self._wakeups = wakeups

    def set(self) -> None:
        """End the wait; from any thread, more than once does no harm."""
        self._wakeups.put(self._future)

    async def wait(self, timeout_s: float) -> None:
        """Return when set, or after `timeout_s` seconds."""
        timer = self._loop.call_later(timeout_s, finish, self._future)
        try:
            await self._future
        finally:
            timer.cancel()


def finish(future: "asyncio.Future[None]") -> None:
    """Let who awaits `future` go on."""
    if not future.done():
        future.set_result(None)
