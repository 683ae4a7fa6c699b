"""API process. Lets a coroutine wait for other threads, at the price of one wake-up for many.

Waking an event loop from another thread costs more than the rest of a request's way through the
coalescer: all callers of a chunk are woken together.
"""

import asyncio
import threading
from collections import deque

from app.inference.expiry import Expiry

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


class Waits:
    """All alarms of one event loop."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.wakeups = Wakeups(loop)
        # By seconds. They are few: what is configured, and the whole seconds that callers ask for.
        self._expiries: dict[float, Expiry[asyncio.Future[None]]] = {}

    def expiry(self, timeout_s: float) -> "Expiry[asyncio.Future[None]]":
        """What ends those that wait so long."""
        expiry = self._expiries.get(timeout_s)
        if expiry is None:
            expiry = self._expiries[timeout_s] = Expiry(self.loop, timeout_s, finish)
        return expiry


class Here(threading.local):
    """The alarms of the loop that runs in this thread; holds on to no loop but the last one."""

    waits: Waits | None = None


_here = Here()


class Alarm:
    """One-shot: one coroutine waits, any thread sets; made in the coroutine's event loop."""

    __slots__ = ("_future", "_waits")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._future = loop.create_future()
        waits = _here.waits
        if waits is None or waits.loop is not loop:
            waits = _here.waits = Waits(loop)
        self._waits = waits

    def set(self) -> None:
        """End the wait; from any thread, more than once does no harm."""
        self._waits.wakeups.put(self._future)

    async def wait(self, timeout_s: float) -> None:
        """Return when set, or after `timeout_s` seconds."""
        expiry = self._waits.expiry(timeout_s)
        expiry.begin(self._future)
        try:
            await self._future
        finally:
            expiry.end(self._future)


def finish(future: "asyncio.Future[None]") -> None:
    """Let who awaits `future` go on."""
    if not future.done():
        future.set_result(None)
